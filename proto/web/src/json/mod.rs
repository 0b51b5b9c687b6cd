//! Messages in JSON, by Protobuf's JSON mapping, over descriptors that are known only while
//! this runs.
//!
//! `buffa-descriptor` holds the descriptors and the messages. Its own JSON refuses what it
//! does not know within a `google.protobuf.Any`, and counts the depth of what it reads and
//! of what it writes apart; the reader and the writer here count the same way, see
//! [`LEVELS`], and show what is unknown as its type and its bytes.
//!
//! What is not in the mapping: fields and names of enum values that are not known are left
//! out when they are read, as servers of Connect do.

mod any;
mod read;
mod scalar;
mod time;
mod tree;
mod well_known;
mod write;

use crate::pool::{Pool, known_types};
use buffa::DecodeOptions;
use buffa_descriptor::reflect::DynamicMessage;
use buffa_descriptor::{DescriptorPool, MessageIndex};
use std::sync::Arc;

/// How deep messages may stand within one another, in requests and answers alike, counted as
/// Protobuf's parsers count the binary form: entries of maps are messages. What is within a
/// `google.protobuf.Any` counts on. A handler can parse whatever is not refused here.
pub(crate) const LEVELS: u32 = 100;

/// How deep objects and lists may stand within one another in JSON: each message is an object,
/// and may stand in a list.
const NESTING: u32 = 2 * LEVELS + 4;
/// How much an error says.
const ERROR_LETTERS: usize = 512;
/// What the values of one message may take in memory while it is decoded: far more than a
/// message of the largest size has, and still a bound.
const VALUES_BYTES: usize = 1024 * 1024 * 1024;

/// The type of a message, in its pool.
#[derive(Clone)]
pub(crate) struct Type {
    pub(crate) pool: Arc<DescriptorPool>,
    pub(crate) index: MessageIndex,
}

/// All types that a `google.protobuf.Any` may hold.
#[derive(Default)]
pub(crate) struct Types(Vec<Arc<DescriptorPool>>);

impl Types {
    /// The types of these pools; those that everybody knows are added.
    pub(crate) fn of<'a>(pools: impl IntoIterator<Item = &'a Pool>) -> Self {
        let pools = pools.into_iter().chain([known_types()]);
        Self(pools.map(|pool| pool.linked().clone()).collect())
    }

    /// A type by its full name. The pool of the message that holds it goes first.
    fn find(&self, near: &Arc<DescriptorPool>, name: &str) -> Option<Type> {
        [near]
            .into_iter()
            .chain(&self.0)
            .find_map(|pool| Some(Type { pool: pool.clone(), index: pool.message_index(name)? }))
    }

    /// From JSON to the binary form, in which fields and entries of maps stand in order:
    /// equal JSON gives equal bytes.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(crate) fn read(&self, of: &Type, json: &[u8]) -> Result<Vec<u8>, String> {
        let read = || {
            let tree = tree::parse(json)?;
            let message = read::Reader { types: self }.message(of, tree, LEVELS)?;
            message.try_encode_to_vec().map_err(|error| error.to_string())
        };
        // Errors cite the text, which may be long.
        read().map_err(|why: String| why.chars().take(ERROR_LETTERS).collect())
    }

    /// From the binary form to JSON.
    ///
    /// # Errors
    /// What is wrong with the bytes, or cannot be said in JSON.
    pub(crate) fn write(&self, of: &Type, message: &[u8]) -> Result<Vec<u8>, String> {
        let message = decode(of, message, LEVELS)?;
        let mut writer = write::Writer { types: self, out: Vec::new() };
        writer.message(&message, LEVELS)?;
        Ok(writer.out)
    }
}

/// A message from its binary form, in which others are within one another at most so often.
fn decode(of: &Type, bytes: &[u8], levels: u32) -> Result<DynamicMessage, String> {
    let options = DecodeOptions::new()
        .with_recursion_limit(levels)
        .with_unknown_field_limit(usize::MAX)
        .with_element_memory_limit(VALUES_BYTES);
    DynamicMessage::decode_with_options(of.pool.clone(), of.index, bytes, &options)
        .map_err(|error| error.to_string())
}

/// One level further in.
fn deeper(levels: u32) -> Result<u32, String> {
    levels.checked_sub(1).ok_or_else(too_deep)
}

fn too_deep() -> String {
    format!("more than {LEVELS} messages within one another")
}

#[cfg(test)]
mod tests;

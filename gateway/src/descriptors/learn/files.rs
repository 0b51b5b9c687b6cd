//! The files that a server has told, and those that it has yet to.

use super::LearnError;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_types::FileDescriptorProto;
use std::collections::{BTreeMap, HashSet};

/// The field of a `FileDescriptorSet` that holds its files.
const FILE: u32 = 1;

pub(super) struct Files {
    /// By name, as they came: what this program cannot read in them stays, such as
    /// options of others.
    files: BTreeMap<String, Vec<u8>>,
    missing: Vec<String>,
    /// Asked for, whatever came of it.
    asked: HashSet<String>,
    bytes: usize,
    most: usize,
}

impl Files {
    pub(super) fn new(most: usize) -> Self {
        let (files, missing, asked) = (BTreeMap::new(), Vec::new(), HashSet::new());
        Self { files, missing, asked, bytes: 0, most }
    }

    pub(super) fn add(&mut self, files: Vec<Vec<u8>>) -> Result<(), LearnError> {
        for bytes in files {
            let file = match FileDescriptorProto::decode(&bytes[..]) {
                Ok(file) => file,
                Err(error) => {
                    tracing::warn!(%error, "the server sent a file that cannot be read");
                    continue;
                }
            };
            let name = file.name.unwrap_or_default();
            if self.files.contains_key(&name) {
                continue;
            }
            self.bytes = self.bytes.saturating_add(bytes.len());
            if self.bytes > self.most {
                return Err(LearnError::Large(self.most));
            }
            self.missing.extend(file.dependency);
            self.files.insert(name, bytes);
        }
        Ok(())
    }

    /// A file that is imported and has neither come nor been asked for.
    pub(super) fn missing(&mut self) -> Option<String> {
        while let Some(name) = self.missing.pop() {
            if !self.files.contains_key(&name) && self.asked.insert(name.clone()) {
                return Some(name);
            }
        }
        None
    }

    /// All of them as a serialized `FileDescriptorSet`.
    pub(super) fn into_set(self) -> Vec<u8> {
        let mut set = Vec::with_capacity(self.bytes + self.files.len() * 6);
        for file in self.files.values() {
            encode_key(FILE, WireType::LengthDelimited, &mut set);
            encode_varint(file.len() as u64, &mut set);
            set.extend_from_slice(file);
        }
        set
    }
}

/// A file of the types that come with Protobuf.
pub(super) fn well_known(name: &str) -> Option<Vec<u8>> {
    Some(queuebridge_web::known_file(name)?.to_vec())
}

//! The stream store: messages of streams on their way between gateway and worker, and
//! for as long as the job's result is kept.
//!
//! A job has one lane for the later messages of its request, written by the gateway, and
//! one for the answer of each attempt, written by the worker. A lane is a row of numbered
//! chunks. Nothing here is a queue: a reader asks for the chunk with the next number, so
//! that order, repeats and going on elsewhere need no thought.

use crate::payload::{PayloadError, PayloadStore};
use crate::record::Token;
use crate::result::StoreError;
use async_trait::async_trait;
use bytes::Bytes;
use prost::Message;
use queuebridge_proto::v1::{StreamChunk, StreamMark};
use queuebridge_proto::{JobId, UnixMillis};
use std::sync::Arc;
use std::time::Duration;

/// Keeps the chunks of streams, until the end of their job's retention.
#[async_trait]
pub trait StreamStore: Send + Sync + 'static {
    /// Stores a chunk under its number, once: a repeat changes nothing.
    async fn append(
        &self,
        job: &JobId,
        lane: Lane,
        number: u32,
        chunk: StreamChunk,
        now: UnixMillis,
    ) -> Result<(), StoreError>;

    /// The chunk of this number as soon as it is there; `None` when it has not come
    /// within `wait`. Where a store cannot be waited at, it is looked at, less and less
    /// often.
    async fn read(
        &self,
        job: &JobId,
        lane: Lane,
        number: u32,
        wait: Duration,
    ) -> Result<Option<StreamChunk>, StoreError>;

    /// Notes how far the gateway is; the last note counts. There may be several readers:
    /// a note of less than was noted before changes nothing.
    async fn mark(
        &self,
        job: &JobId,
        lane: Lane,
        mark: StreamMark,
        now: UnixMillis,
    ) -> Result<(), StoreError>;

    /// What was last noted.
    async fn marked(&self, job: &JobId, lane: Lane) -> Result<Option<StreamMark>, StoreError>;

    /// Drops the first `chunks` chunks of a lane, and its note.
    async fn delete(&self, job: &JobId, lane: Lane, chunks: u32) -> Result<(), StoreError>;
}

/// What a message weighs beyond its bytes: one without any is carried and kept as well.
const EACH: usize = 32;

/// What a message counts for wherever a stream is cut into chunks, held back or bounded.
/// Writers and readers have to count alike, or one waits for the other in vain.
#[must_use]
pub fn weight(message: &Bytes) -> usize {
    EACH + message.len()
}

/// One direction of a job's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// What the caller sends after the job was accepted.
    Request,
    /// What one attempt answers.
    Answer(Token),
}

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Request => f.write_str("request"),
            Self::Answer(attempt) => write!(f, "{attempt}"),
        }
    }
}

/// Puts the messages of a chunk into the payload store, under `key`, and points to them.
///
/// # Errors
/// When the store cannot be reached.
pub async fn placed(
    chunk: StreamChunk,
    payloads: &Arc<dyn PayloadStore>,
    key: &str,
) -> Result<StreamChunk, StoreError> {
    let StreamChunk { messages, end, initial_metadata, .. } = chunk;
    let large = StreamChunk { messages, ..StreamChunk::default() };
    let stored = payloads.put(key, large.encode_to_vec().into()).await;
    let stored = Some(stored.map_err(|error| StoreError(error.to_string()))?);
    Ok(StreamChunk { stored, end, initial_metadata, ..StreamChunk::default() })
}

/// The chunk with its messages, wherever they are.
///
/// # Errors
/// When they are lost, or their store cannot be reached.
pub async fn fetched(
    chunk: StreamChunk,
    payloads: Option<&Arc<dyn PayloadStore>>,
) -> Result<StreamChunk, PayloadError> {
    let Some(at) = &chunk.stored else { return Ok(chunk) };
    let payloads = payloads
        .ok_or_else(|| PayloadError::Unavailable("there is no payload store".to_owned()))?;
    let large = StreamChunk::decode(payloads.get(at).await?)
        .map_err(|_| PayloadError::Altered(at.key.clone()))?;
    Ok(StreamChunk { messages: large.messages, stored: None, ..chunk })
}

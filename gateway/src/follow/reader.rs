//! Reading the streamed answer of one attempt.

use super::heartbeat::Heartbeat;
use crate::leaving::CallRoom;
use crate::lookup::{Lookup, unreachable};
use crate::reading::Reading;
use prost::Message;
use queuebridge_proto::JobId;
use queuebridge_proto::v1::{StreamChunk, StreamMark};
use queuebridge_store::{Lane, PayloadError, Token, stream};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tonic::Status;

/// How often a store is asked that does not answer: a stream that has run for an hour is
/// worth some patience.
const TRIES: u32 = 5;
const BACKOFF: Duration = Duration::from_millis(100);

/// Reads chunk after chunk, and says how far it is where a worker wants to know.
pub(crate) struct Reader {
    lookup: Arc<Lookup>,
    id: JobId,
    room: CallRoom,
    /// The attempt.
    pub(crate) attempt: Token,
    /// The number of the next chunk.
    pub(crate) next: u32,
    window: usize,
    /// The weight of the chunks that were read and not noted yet.
    unnoted: usize,
    /// Where there is a window.
    heartbeat: Option<Heartbeat>,
    /// How often the stores have not answered, one time after the other.
    failures: u32,
}

impl Reader {
    pub(super) fn new(lookup: Arc<Lookup>, job: &Reading, attempt: Token, window: u32) -> Self {
        let (id, room, lane) = (*job.id(), job.room().clone(), Lane::Answer(attempt));
        let heartbeat = (window > 0).then(|| Heartbeat::start(lookup.clone(), id, lane));
        let window = window as usize;
        let (next, unnoted, failures) = (0, 0, 0);
        Self { lookup, id, room, attempt, next, window, unnoted, heartbeat, failures }
    }

    /// The next chunk, if it comes within `wait`. It may be dropped and asked again.
    pub(super) async fn read(&mut self, wait: Duration) -> Result<Option<StreamChunk>, Status> {
        let _waiting = self.heartbeat.as_ref().map(Heartbeat::waiting);
        loop {
            let failure = match self.try_read(wait).await {
                Ok(Ok(read)) => {
                    self.failures = 0;
                    return Ok(read);
                }
                Ok(Err(status)) => return Err(status),
                Err(failure) => failure,
            };
            self.failures += 1;
            if self.failures >= TRIES {
                return Err(failure);
            }
            sleep(BACKOFF * self.failures).await;
        }
    }

    /// Fails outside when a store does not answer, and inside when the chunk is lost, or
    /// there is no room for it.
    async fn try_read(
        &mut self,
        wait: Duration,
    ) -> Result<Result<Option<StreamChunk>, Status>, Status> {
        let lane = Lane::Answer(self.attempt);
        if self.window > 0 && self.unnoted * 2 >= self.window {
            let now = self.lookup.clock.now();
            let mark = StreamMark { taken: self.next, seen_at: now.0 };
            let noted = self.lookup.streams.mark(&self.id, lane, mark, now).await;
            noted.map_err(|error| unreachable(&error))?;
            self.unnoted = 0;
        }
        let mut held = 0;
        let chunk = loop {
            let chunk = self.lookup.streams.read(&self.id, lane, self.next, wait).await;
            let chunk = chunk.map_err(|error| unreachable(&error))?;
            let Some(chunk) = chunk else { return Ok(Ok(None)) };
            let bytes = chunk
                .stored
                .as_ref()
                .map_or(chunk.encoded_len(), |at| usize::try_from(at.size).unwrap_or(usize::MAX));
            // The messages before it were handed on.
            if bytes <= held || self.room.try_next(bytes) {
                break chunk;
            }
            // Whoever waits for room holds nothing of what it is for.
            drop(chunk);
            if let Err(status) = self.room.take_next(bytes).await {
                return Ok(Err(status));
            }
            held = bytes;
        };
        let chunk = match stream::fetched(chunk, self.lookup.payloads.as_ref()).await {
            Ok(chunk) => chunk,
            Err(error @ PayloadError::Unavailable(_)) => {
                return Err(self.lookup.lost(&self.id, &error).await);
            }
            Err(error) => return Ok(Err(self.lookup.lost(&self.id, &error).await)),
        };
        self.next += 1;
        if let Some(heartbeat) = &self.heartbeat {
            heartbeat.taken(self.next);
        }
        self.unnoted += chunk.messages.iter().map(stream::weight).sum::<usize>();
        Ok(Ok(Some(chunk)))
    }
}

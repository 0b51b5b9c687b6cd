//! Forgetting the messages of streams.

use super::{Lookup, unavailable, unreachable};
use crate::follow;
use queuebridge_proto::JobId;
use queuebridge_store::{Lane, Record, payload};
use std::time::Duration;
use tonic::Status;

impl Lookup {
    /// Forgets the messages of a streamed answer, wherever they are.
    pub(super) async fn delete_answers(
        &self,
        id: &JobId,
        tenant: &str,
        record: &Record,
    ) -> Result<(), Status> {
        let outcome = record.outcome.as_ref();
        let Some(stream) = outcome.and_then(|outcome| outcome.stream.as_deref()) else {
            return Ok(());
        };
        let attempt = follow::attempt_of(stream)?;
        for number in &stream.stored {
            let part = format!("{attempt}-{number}");
            self.delete_payload(id, &payload::answer_key(tenant, id, &part)).await?;
        }
        let deleted = self.streams.delete(id, Lane::Answer(attempt), stream.chunks).await;
        deleted.map_err(|error| unreachable(&error))
    }

    /// Forgets what the caller has sent after its job was accepted. How much that is, only
    /// the chunks themselves say.
    pub(super) async fn delete_requests(&self, id: &JobId, tenant: &str) -> Result<(), Status> {
        let mut chunks = 0;
        loop {
            let chunk = self.streams.read(id, Lane::Request, chunks, Duration::ZERO).await;
            let Some(chunk) = chunk.map_err(|error| unreachable(&error))? else { break };
            if chunk.stored.is_some() {
                self.delete_payload(id, &payload::later_key(tenant, id, chunks)).await?;
            }
            chunks += 1;
        }
        if chunks == 0 {
            return Ok(());
        }
        let deleted = self.streams.delete(id, Lane::Request, chunks).await;
        deleted.map_err(|error| unreachable(&error))
    }

    pub(super) async fn delete_payload(&self, id: &JobId, key: &str) -> Result<(), Status> {
        let Some(payloads) = &self.payloads else { return Ok(()) };
        payloads.delete(key).await.map_err(|error| {
            tracing::warn!(job = %id, %error, "a payload was not deleted");
            unavailable("the payload store cannot be reached")
        })
    }
}

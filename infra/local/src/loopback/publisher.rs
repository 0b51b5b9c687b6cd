//! The loopback queue and topic as the gateway's publishers.

use super::{
    limits::{self, BatchError, SendError},
    queue::Loopback,
    topic::LoopbackTopic,
};
use async_trait::async_trait;
use queuebridge_gateway::publish::{Limits, Message, PublishError, Publisher};
use uuid::Uuid;

/// Calls that may be under way at once: a call does not wait for anything, so
/// more would only take turns at the lock.
const CONCURRENCY: usize = 2;

#[async_trait]
impl Publisher for Loopback {
    fn limits(&self) -> Limits {
        Limits {
            batch_entries: limits::BATCH_ENTRIES,
            batch_bytes: self.config.maximum_message_bytes,
            message_bytes: self.config.maximum_message_bytes,
            fifo: self.is_fifo(),
            concurrency: CONCURRENCY,
        }
    }

    async fn publish(&self, batch: &[Message]) -> Vec<Result<(), PublishError>> {
        answers(batch.len(), self.send_batch(batch))
    }
}

#[async_trait]
impl Publisher for LoopbackTopic {
    fn limits(&self) -> Limits {
        Limits {
            batch_entries: limits::BATCH_ENTRIES,
            batch_bytes: self.config.maximum_message_bytes,
            message_bytes: self.config.maximum_message_bytes,
            fifo: self.config.fifo,
            concurrency: CONCURRENCY,
        }
    }

    async fn publish(&self, batch: &[Message]) -> Vec<Result<(), PublishError>> {
        answers(batch.len(), self.publish_batch(batch))
    }
}

/// A call that is refused as a whole refuses each of its messages.
fn answers(
    messages: usize,
    answer: Result<Vec<Result<Uuid, SendError>>, BatchError>,
) -> Vec<Result<(), PublishError>> {
    match answer {
        Ok(each) => each.into_iter().map(|one| Ok(one.map(drop)?)).collect(),
        Err(error @ BatchError::RequestTooLong { .. }) => {
            vec![Err(PublishError::TooLarge(error.to_string())); messages]
        }
        Err(error) => vec![Err(PublishError::Refused(error.to_string())); messages],
    }
}

impl From<SendError> for PublishError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Full => Self::Full(error.to_string()),
            SendError::TooLong { .. } => Self::TooLarge(error.to_string()),
            error => Self::Refused(error.to_string()),
        }
    }
}

//! The messages that a worker sends: the next copy of a snoozed job, what is
//! parked, who is finished, and who is to be called back.

use async_trait::async_trait;
use queuebridge_proto::v1::Announcement;
use std::sync::Arc;
use std::time::Duration;

/// The longest delay that SQS gives a message. Longer ones are made of several.
pub const MAX_DELAY: Duration = Duration::from_secs(900);

/// Sends messages. `Ok` means that the queue has durably taken the message; an
/// error, that nobody knows.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// Sends a message to the queue `source`, which is that of a
    /// [`Delivery`](crate::Delivery), to be received after `delay`, at most
    /// [`MAX_DELAY`].
    async fn resend(
        &self,
        source: &str,
        message: Outgoing,
        delay: Duration,
    ) -> Result<(), OutboxError>;

    /// Whether there is a parking queue.
    fn parks(&self) -> bool;

    /// Sends a message to the parking queue.
    async fn park(&self, message: Outgoing) -> Result<(), OutboxError>;

    /// Sends a message to the callback queue.
    async fn call_back(&self, message: Outgoing) -> Result<(), OutboxError>;

    /// Announces finished jobs on a reply shard, which is named as in their calls.
    /// What is lost costs those who wait some time, and nothing else.
    async fn announce(&self, shard: &str, jobs: Vec<Announcement>) -> Result<(), OutboxError>;
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The text body.
    pub body: Arc<str>,
    /// String attributes, for routing and people only.
    pub attributes: Vec<(&'static str, String)>,
    /// The tenant, for fairness; empty when it is not known.
    pub group_id: String,
    /// The `AWSTraceHeader` of the message that it continues.
    pub trace_header: Option<String>,
}

/// Why a message is not known to be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// Its queue takes no message of so many bytes: it was not sent.
    #[error("the message is larger than its queue takes: {0}")]
    TooLarge(String),
    /// It was not sent, or the worker cannot know.
    #[error("the message could not be sent: {0}")]
    Unsent(String),
}

/// For hosts that can send nothing: a snooze is then a redelivery, and nothing is
/// parked.
#[derive(Clone, Copy, Debug)]
pub struct NoOutbox;

#[async_trait]
impl Outbox for NoOutbox {
    async fn resend(
        &self,
        _source: &str,
        _message: Outgoing,
        _delay: Duration,
    ) -> Result<(), OutboxError> {
        Err(OutboxError::Unsent("this host sends no messages".to_owned()))
    }

    fn parks(&self) -> bool {
        false
    }

    async fn park(&self, _message: Outgoing) -> Result<(), OutboxError> {
        Err(OutboxError::Unsent("this host sends no messages".to_owned()))
    }

    async fn call_back(&self, _message: Outgoing) -> Result<(), OutboxError> {
        Err(OutboxError::Unsent("this host sends no messages".to_owned()))
    }

    async fn announce(&self, _shard: &str, _jobs: Vec<Announcement>) -> Result<(), OutboxError> {
        Ok(())
    }
}

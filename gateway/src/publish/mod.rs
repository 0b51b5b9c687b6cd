//! Publishing: the seam to queues and topics, and the batcher above it.

pub mod batcher;
pub(crate) mod classify;
mod size;
pub mod sns;
pub mod sqs;

use async_trait::async_trait;
use queuebridge_proto::envelope::attribute;

/// One queue or topic that takes messages.
///
/// A publisher does not retry and does not split: the batcher above it keeps to
/// [`Publisher::limits`] and decides what to do with each result.
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// What one call and one message may hold, as far as is known now.
    fn limits(&self) -> Limits;

    /// Asks the destination for its limits, where that is how they are known. A
    /// destination that does not answer leaves them as they are.
    async fn learn_limits(&self) {}

    /// Publishes 1 to [`Limits::batch_entries`] messages whose sizes together
    /// keep to [`Limits::batch_bytes`]. Returns one result per message, in
    /// order. `Ok` means that the queue or topic has durably taken that message.
    async fn publish(&self, batch: &[Message]) -> Vec<Result<(), PublishError>>;
}

/// What one call and one message may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Messages per call.
    pub batch_entries: usize,
    /// Bytes per call: bodies and attributes together.
    pub batch_bytes: usize,
    /// Bytes per message: body and attributes together.
    pub message_bytes: usize,
    /// Whether the destination orders messages of a group (FIFO).
    pub fifo: bool,
    /// Calls that may be under way at once.
    pub concurrency: usize,
}

impl Limits {
    /// Of a destination that takes nothing.
    pub const NONE: Self =
        Self { batch_entries: 0, batch_bytes: 0, message_bytes: 0, fifo: false, concurrency: 0 };
}

/// One message to publish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The text body.
    pub body: String,
    /// String attributes, for routing and people only; at most six.
    pub attributes: Vec<(&'static str, String)>,
    /// Deliver not before this many seconds, 0 to 900; 0 on FIFO.
    pub delay_seconds: u16,
    /// On FIFO the ordering group; on standard queues the tenant, for fairness.
    pub group_id: Option<String>,
    /// On FIFO: messages with the same id within five minutes are one.
    pub deduplication_id: Option<String>,
    /// The `AWSTraceHeader` system attribute.
    pub trace_header: Option<String>,
}

impl Message {
    /// The bytes that count toward the limits: the body, and name, type and
    /// value of each attribute.
    #[must_use]
    pub fn size(&self) -> usize {
        let attribute = |(name, value): &(&str, String)| {
            name.len() + attribute::data_type(name).len() + value.len()
        };
        self.body.len() + self.attributes.iter().map(attribute).sum::<usize>()
    }
}

/// Why a message was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The destination is busy or ill and certainly did not take it: trying
    /// again may help.
    #[error("not taken, may be retried: {0}")]
    Retryable(String),
    /// The destination refuses this message, or everything: trying again does
    /// not help until somebody changes something.
    #[error("refused: {0}")]
    Refused(String),
    /// The message, or the batch that it was in, has more bytes than the destination
    /// takes; nothing of it was taken.
    #[error("too large: {0}")]
    TooLarge(String),
    /// The destination, in this process, holds as much as it may.
    #[error("full: {0}")]
    Full(String),
    /// The request was sent and no answer came: nobody can know.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

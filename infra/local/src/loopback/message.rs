//! A message at rest in the queue, and as it is handed out.

use super::{
    limits::{self, SendError},
    receipt::Receipt,
};
use queuebridge_gateway::publish::Message;
use queuebridge_proto::UnixMillis;
use std::sync::Arc;
use uuid::Uuid;

/// What a message costs in the queue's books on top of its own size: the slot,
/// the indexes, the allocations.
pub const MESSAGE_OVERHEAD_BYTES: usize = 512;

/// A string attribute: name and value.
pub type Attribute = (&'static str, String);

/// One received message. Cloning it copies no text.
#[derive(Clone, Debug)]
pub struct Received {
    /// The same at every receive, also in the dead-letter queue.
    pub message_id: Uuid,
    /// Finishes this receive; new at every receive.
    pub receipt_handle: Receipt,
    /// The text as it was sent.
    pub body: Arc<str>,
    /// The attributes as they were sent.
    pub attributes: Arc<[Attribute]>,
    /// Receives so far, this one included, in this queue and in those it was
    /// moved from (`ApproximateReceiveCount`).
    pub receive_count: u32,
    /// When it was sent (`SentTimestamp`).
    pub sent_at: UnixMillis,
    /// When it was received for the first time.
    pub first_received_at: UnixMillis,
    /// On FIFO the ordering group, on standard queues the tenant.
    pub group_id: Option<Arc<str>>,
    /// FIFO: the sender's id, or the body's SHA-256 in hexadecimal.
    pub deduplication_id: Option<Arc<str>>,
    /// Rises from message to message of a queue; FIFO shows it to receivers.
    pub sequence_number: u64,
    /// The `AWSTraceHeader` system attribute.
    pub trace_header: Option<Arc<str>>,
}

/// A message's own part, which no receive changes.
#[derive(Clone)]
pub(super) struct Content {
    pub(super) body: Arc<str>,
    pub(super) attributes: Arc<[Attribute]>,
    pub(super) group_id: Option<Arc<str>>,
    pub(super) deduplication_id: Option<Arc<str>>,
    pub(super) trace_header: Option<Arc<str>>,
    pub(super) size: usize,
}

impl Content {
    pub(super) fn of(message: &Message) -> Self {
        Self {
            body: message.body.as_str().into(),
            attributes: message.attributes.as_slice().into(),
            group_id: message.group_id.as_deref().map(Into::into),
            deduplication_id: message.deduplication_id.as_deref().map(Into::into),
            trace_header: message.trace_header.as_deref().map(Into::into),
            size: message.size(),
        }
    }

    /// What it takes of the queue's capacity.
    pub(super) fn cost(&self) -> usize {
        self.size + MESSAGE_OVERHEAD_BYTES
    }
}

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not yet to be received, until `due`.
    Delayed,
    /// To be received.
    Visible,
    /// Received, invisible until `due`.
    InFlight,
}

/// A message at rest.
pub(super) struct Stored {
    pub(super) id: Uuid,
    pub(super) content: Content,
    pub(super) sequence: u64,
    pub(super) sent_at: UnixMillis,
    pub(super) expires_at: UnixMillis,
    pub(super) first_received_at: Option<UnixMillis>,
    /// Receives in all queues that it has been in.
    pub(super) receive_count: u32,
    /// Receives in this queue: the redrive policy counts these.
    pub(super) receives_here: u32,
    pub(super) received_at: UnixMillis,
    pub(super) phase: Phase,
    pub(super) due: UnixMillis,
    /// The lane or group that it stands in, while it stands in one.
    pub(super) lane: usize,
}

impl Stored {
    /// This receive of it, as the receiver sees it.
    pub(super) fn hand_out(&self, queue: u64, slot: usize) -> Received {
        let content = self.content.clone();
        Received {
            message_id: self.id,
            receipt_handle: Receipt {
                queue,
                slot,
                sequence: self.sequence,
                receive: self.receives_here,
            },
            body: content.body,
            attributes: content.attributes,
            receive_count: self.receive_count,
            sent_at: self.sent_at,
            first_received_at: self.first_received_at.unwrap_or(self.received_at),
            group_id: content.group_id,
            deduplication_id: content.deduplication_id,
            sequence_number: self.sequence,
            trace_header: content.trace_header,
        }
    }
}

/// What one receive may still take.
pub(super) struct Budget {
    messages: usize,
    bytes: usize,
    overhead: usize,
}

impl Budget {
    /// At most this many messages and bytes, where each message counts with
    /// `overhead` bytes besides its own.
    pub(super) fn new(messages: usize, bytes: usize, overhead: usize) -> Self {
        Self { messages, bytes, overhead }
    }

    /// Whether one more message of this size fits, which is then taken off.
    pub(super) fn spend(&mut self, size: usize) -> bool {
        let size = size + self.overhead;
        if self.messages == 0 || size > self.bytes {
            return false;
        }
        self.messages -= 1;
        self.bytes -= size;
        true
    }

    /// Gives back what was spent on a message that was not handed out.
    pub(super) fn refund(&mut self, size: usize) {
        self.messages += 1;
        self.bytes += size + self.overhead;
    }
}

/// Checks one message against the rules of a queue of this type.
pub(super) fn accept(message: &Message, fifo: bool, limit: usize) -> Result<Content, SendError> {
    limits::check_contents(message, limit)?;
    limits::check_for_queue(message)?;
    if fifo {
        if message.delay_seconds > 0 {
            return Err(SendError::DelayNotAllowed);
        }
        if message.group_id.is_none() {
            return Err(SendError::GroupMissing);
        }
    } else {
        if u64::from(message.delay_seconds) > limits::DELAY.as_secs() {
            return Err(SendError::Delay(message.delay_seconds));
        }
        if message.deduplication_id.is_some() {
            return Err(SendError::DeduplicationNotAllowed);
        }
    }
    Ok(Content::of(message))
}

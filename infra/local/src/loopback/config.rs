//! What a loopback queue is told when it is made.

use super::{Loopback, limits};
use queuebridge_store::Clock;
use std::{sync::Arc, time::Duration};

/// The settings of a queue. [`QueueConfig::standard`] and [`QueueConfig::fifo`]
/// give SQS's defaults, to be changed field by field.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    /// 1 to 80 letters, digits, `-` and `_`; a FIFO queue's ends in `.fifo`.
    pub name: String,
    /// Whether messages of a group keep their order.
    pub fifo: bool,
    /// How long a received message stays invisible, at most 12 hours; 30 s.
    pub visibility_timeout: Duration,
    /// How long a new message stays invisible when it does not say so itself,
    /// at most 15 minutes; none.
    pub delay: Duration,
    /// How long a message is kept, counted from its sending; 4 days. SQS takes
    /// 60 s to 14 days. Here it may be anything but zero, so that tests and
    /// benchmarks need not wait for minutes.
    pub retention: Duration,
    /// Where messages go that were received too often.
    pub redrive: Option<Redrive>,
    /// FIFO: a message without deduplication id takes its body's SHA-256.
    pub content_based_deduplication: bool,
    /// Bytes of one message, body and attributes; 1 KiB to 1 MiB; 1 MiB.
    pub maximum_message_bytes: usize,
    /// Messages that may be in flight at once; 120,000.
    pub in_flight_limit: usize,
    /// Bytes that the queue may hold, messages and their bookkeeping; 256 MiB.
    /// SQS has no such limit, memory has.
    pub capacity_bytes: usize,
    /// Tells all times of the queue. A simulated clock moves with the runtime's
    /// time, which is what waiting receivers sleep by.
    pub clock: Clock,
}

/// When and where a message is moved that nobody could finish.
#[derive(Clone, Debug)]
pub struct Redrive {
    /// A message that was received this often, 1 to 1,000, is moved instead of
    /// being received once more.
    pub max_receive_count: u32,
    /// A queue of the same type.
    pub dead_letter: Arc<Loopback>,
}

impl QueueConfig {
    /// A standard queue with SQS's defaults.
    #[must_use]
    pub fn standard(name: &str, clock: Clock) -> Self {
        Self {
            name: name.to_owned(),
            fifo: false,
            visibility_timeout: Duration::from_secs(30),
            delay: Duration::ZERO,
            retention: Duration::from_secs(4 * 24 * 60 * 60),
            redrive: None,
            content_based_deduplication: false,
            maximum_message_bytes: limits::MESSAGE_BYTES,
            in_flight_limit: limits::IN_FLIGHT,
            capacity_bytes: 256 * 1024 * 1024,
            clock,
        }
    }

    /// A FIFO queue with SQS's defaults.
    #[must_use]
    pub fn fifo(name: &str, clock: Clock) -> Self {
        Self { fifo: true, ..Self::standard(name, clock) }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let base = if self.fifo { self.name.strip_suffix(".fifo") } else { Some(&*self.name) };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.name.len() > 80 || !base.is_some_and(|b| !b.is_empty() && b.chars().all(plain)) {
            return Err(ConfigError::Name);
        }
        if self.visibility_timeout > limits::VISIBILITY {
            return Err(ConfigError::OutOfRange("visibility_timeout"));
        }
        if self.delay > limits::DELAY {
            return Err(ConfigError::OutOfRange("delay"));
        }
        if self.retention.is_zero() {
            return Err(ConfigError::OutOfRange("retention"));
        }
        if !(1_024..=limits::MESSAGE_BYTES).contains(&self.maximum_message_bytes) {
            return Err(ConfigError::OutOfRange("maximum_message_bytes"));
        }
        match &self.redrive {
            Some(redrive) if !(1..=1_000).contains(&redrive.max_receive_count) => {
                Err(ConfigError::OutOfRange("max_receive_count"))
            }
            Some(redrive) if redrive.dead_letter.is_fifo() != self.fifo => {
                Err(ConfigError::DeadLetterType)
            }
            _ => Ok(()),
        }
    }
}

/// Why a queue cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not 1 to 80 allowed characters, or a FIFO queue's name without `.fifo`.
    #[error("not a queue name: 1 to 80 of A-Z, a-z, 0-9, '-', '_'; a FIFO queue's ends in .fifo")]
    Name,
    /// A setting outside its range.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
    /// A dead-letter queue must be of the same type as its source.
    #[error("a dead-letter queue must be FIFO exactly if its source is")]
    DeadLetterType,
}

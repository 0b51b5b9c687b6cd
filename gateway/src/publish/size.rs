//! How large a message of one queue or topic may be: as its attribute
//! `MaximumMessageSize` says, and as its refusals teach.

use super::{Message, PublishError};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The smallest value that the attribute can have.
const LEAST: usize = 1024;
/// The default of SQS until August 2025: queues made before still have it.
const EARLIER_DEFAULT: usize = 256 * 1024;

/// The size limits of one destination, in bytes of bodies and attributes together.
#[derive(Debug)]
pub(super) struct SizeLimit {
    /// What the destination is called in the log.
    name: String,
    /// The most that is ever used.
    most: usize,
    message: AtomicUsize,
    batch: AtomicUsize,
    /// Whether the log says already that the attribute cannot be read.
    told: AtomicBool,
}

impl SizeLimit {
    /// Of a destination whose attribute is not read yet.
    pub(super) fn new(name: &str, most: usize) -> Self {
        let (message, batch) = (AtomicUsize::new(most), AtomicUsize::new(most));
        Self { name: name.to_owned(), most, message, batch, told: AtomicBool::new(false) }
    }

    /// The largest message.
    pub(super) fn message(&self) -> usize {
        self.message.load(Ordering::Relaxed)
    }

    /// The most that the messages of one call may have together.
    pub(super) fn batch(&self) -> usize {
        self.batch.load(Ordering::Relaxed)
    }

    /// The attribute was read; it bounds a message, and the sum of a batch.
    pub(super) fn read(&self, attribute: Option<&str>) {
        let value = attribute.and_then(|text| text.parse::<usize>().ok());
        let value = value.map_or(self.most, |bytes| bytes.clamp(LEAST, self.most));
        if value < self.most && value != self.message() {
            tracing::warn!(
                destination = self.name,
                bytes = value,
                "MaximumMessageSize is below what is possible: larger requests go to the payload \
                 store, and without one they are refused"
            );
        }
        self.set(value);
    }

    /// The attribute could not be read. The log says so once.
    pub(super) fn unread(&self, why: &str) {
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                destination = self.name,
                why,
                bytes = self.message(),
                "MaximumMessageSize cannot be read: this size is taken for granted until a \
                 message is refused"
            );
        }
    }

    /// The messages were refused for their size, together or the only one of them.
    /// AWS names the limit in most of these refusals.
    pub(super) fn refused(&self, batch: &[Message], error: &PublishError) {
        let named = limit_in(&error.to_string()).map(|bytes| bytes.clamp(LEAST, self.most));
        let size: usize = batch.iter().map(Message::size).sum();
        match named {
            Some(bytes) if bytes < self.message() => self.set(bytes),
            _ if batch.len() > 1 => {
                let bytes = size.saturating_sub(1).clamp(LEAST, self.batch());
                self.batch.store(bytes, Ordering::Relaxed);
            }
            _ if size <= self.message() => {
                let most = if size > EARLIER_DEFAULT { EARLIER_DEFAULT } else { size - 1 };
                self.set(most.clamp(LEAST, self.message()));
            }
            _ => {}
        }
    }

    fn set(&self, bytes: usize) {
        self.message.store(bytes, Ordering::Relaxed);
        self.batch.store(bytes, Ordering::Relaxed);
    }
}

/// The error of the first message that was refused for its size.
pub(super) fn refusal(answers: &[Result<(), PublishError>]) -> Option<(usize, &PublishError)> {
    let mut errors = answers.iter().enumerate();
    errors.find_map(|(index, answer)| match answer {
        Err(error @ PublishError::TooLarge(_)) => Some((index, error)),
        _ => None,
    })
}

/// What was refused: the whole batch, or the message of this index.
pub(super) fn refused_part<'a>(
    batch: &'a [Message],
    answers: &[Result<(), PublishError>],
    index: usize,
) -> &'a [Message] {
    let too_large = |answer: &_| matches!(answer, Err(PublishError::TooLarge(_)));
    if answers.iter().all(too_large) { batch } else { batch.get(index..=index).unwrap_or(batch) }
}

/// The bytes after "shorter than" or "longer than".
fn limit_in(text: &str) -> Option<usize> {
    let (_, rest) = text.split_once("er than ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn messages(sizes: &[usize]) -> Vec<Message> {
        let message = |size: &usize| Message { body: "x".repeat(*size), ..Message::default() };
        sizes.iter().map(message).collect()
    }

    fn taught(limit: &SizeLimit, sizes: &[usize], text: &str) -> (usize, usize) {
        limit.refused(&messages(sizes), &PublishError::TooLarge(text.to_owned()));
        (limit.message(), limit.batch())
    }

    #[test]
    fn the_attribute_bounds_messages_and_batches() {
        let limit = SizeLimit::new("q", MIB);
        for (attribute, bytes) in [
            (Some("262144"), 262_144),
            (Some("1024"), 1024),
            (Some("1048576"), MIB),
            (Some("9999999"), MIB),
            (Some("1"), 1024),
            (Some("much"), MIB),
            (None, MIB),
        ] {
            limit.read(attribute);
            assert_eq!((limit.message(), limit.batch()), (bytes, bytes), "{attribute:?}");
        }
    }

    #[test]
    fn refusals_teach_the_limit_that_they_name_or_show() {
        let one = "Reason: Message must be shorter than 65536 bytes.";
        assert_eq!(taught(&SizeLimit::new("q", MIB), &[70_000], one), (65_536, 65_536));
        let all = "Batch requests cannot be longer than 262144 bytes. You have sent 307256 bytes.";
        let limit = SizeLimit::new("q", MIB);
        assert_eq!(taught(&limit, &[150_000, 150_000], all), (262_144, 262_144));
        // A topic names none.
        let limit = SizeLimit::new("t", MIB);
        assert_eq!(taught(&limit, &[300_000], "Message too long"), (262_144, 262_144));
        assert_eq!(taught(&limit, &[200_000], "Message too long"), (199_999, 199_999));
        assert_eq!(taught(&limit, &[60_000, 60_000], "too long"), (199_999, 119_999));
        assert_eq!(taught(&limit, &[1], "too long"), (1024, 1024));
    }
}

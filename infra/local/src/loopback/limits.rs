//! SQS's limits, and the check that a message keeps to them.

use queuebridge_gateway::publish::Message;
use std::time::Duration;

/// Bytes of one message, and of all messages of one call.
pub const MESSAGE_BYTES: usize = 1_048_576;
/// Messages, receipts or changes of one call.
pub const BATCH_ENTRIES: usize = 10;
/// Attributes of one message.
pub const ATTRIBUTES: usize = 10;
/// The longest visibility timeout, and the longest time that a message can stay
/// invisible after one receive, however often its timeout is changed: 12 hours.
pub const VISIBILITY: Duration = Duration::from_secs(43_200);
/// The longest delay of a new message.
pub const DELAY: Duration = Duration::from_secs(900);
/// The longest long poll.
pub const WAIT: Duration = Duration::from_secs(20);
/// Messages in flight.
pub const IN_FLIGHT: usize = 120_000;
/// How long a deduplication id is remembered after it was taken.
pub const DEDUPLICATION: Duration = Duration::from_secs(300);

/// Characters of a group or deduplication id.
const ID_CHARACTERS: usize = 128;
/// Characters of an attribute's name.
const NAME_CHARACTERS: usize = 256;

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The body is empty.
    #[error("MissingParameter: a message needs a body of at least one character")]
    EmptyBody,
    /// The body or an attribute's value has a character outside #x9, #xA, #xD,
    /// #x20 to #xD7FF, #xE000 to #xFFFD, #x10000 to #x10FFFF.
    #[error("InvalidMessageContents: {0} holds a character that SQS does not take")]
    InvalidMessageContents(&'static str),
    /// Body and attributes together exceed the queue's limit.
    #[error("InvalidParameterValue: {bytes} bytes are more than the limit of {limit}")]
    TooLong {
        /// The message's size.
        bytes: usize,
        /// The queue's maximum message size.
        limit: usize,
    },
    /// More than ten attributes.
    #[error("InvalidParameterValue: {0} attributes are more than {ATTRIBUTES}")]
    TooManyAttributes(usize),
    /// A name that is empty, too long, doubled, reserved, or badly written.
    #[error("InvalidParameterValue: attribute name '{0}' is not allowed")]
    AttributeName(&'static str),
    /// An attribute with an empty value.
    #[error("InvalidParameterValue: attribute '{0}' is empty")]
    EmptyAttribute(&'static str),
    /// A delay above 900 s.
    #[error("InvalidParameterValue: a delay of {0} s is more than 900 s")]
    Delay(u16),
    /// A message of its own delay on a FIFO queue, or any delay on a topic.
    #[error("InvalidParameterValue: messages cannot be delayed one by one here")]
    DelayNotAllowed,
    /// A FIFO queue needs to know the group.
    #[error("MissingParameter: a FIFO queue needs a message group id")]
    GroupMissing,
    /// Not 1 to 128 printable ASCII characters.
    #[error("InvalidParameterValue: {0} must be 1 to 128 printable ASCII characters")]
    Id(&'static str),
    /// A FIFO queue without content-based deduplication needs the id.
    #[error("InvalidParameterValue: this FIFO queue needs a deduplication id")]
    DeduplicationMissing,
    /// Standard queues do not deduplicate.
    #[error("InvalidParameterValue: a standard queue takes no deduplication id")]
    DeduplicationNotAllowed,
    /// The queue holds as much as it may. SQS does not know this answer.
    #[error("the queue holds as much as it may")]
    Full,
}

/// Why a whole call was refused; nothing of it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// No entries.
    #[error("EmptyBatchRequest")]
    Empty,
    /// More than ten entries.
    #[error("TooManyEntriesInBatchRequest: {0} are more than {BATCH_ENTRIES}")]
    TooManyEntries(usize),
    /// All messages together exceed the limit of a call.
    #[error("BatchRequestTooLong: {bytes} bytes are more than the limit of {limit}")]
    RequestTooLong {
        /// The sum of the messages' sizes.
        bytes: usize,
        /// What one call may hold.
        limit: usize,
    },
}

/// Refuses calls with no entries or too many.
pub(super) fn check_entries(entries: usize) -> Result<(), BatchError> {
    match entries {
        0 => Err(BatchError::Empty),
        1..=BATCH_ENTRIES => Ok(()),
        _ => Err(BatchError::TooManyEntries(entries)),
    }
}

/// Refuses calls that hold too much.
pub(super) fn check_batch(batch: &[Message], limit: usize) -> Result<(), BatchError> {
    check_entries(batch.len())?;
    // One that is too large by itself has its own answer.
    let bytes = batch.iter().map(Message::size).filter(|bytes| *bytes <= limit).sum();
    if bytes > limit { Err(BatchError::RequestTooLong { bytes, limit }) } else { Ok(()) }
}

/// Refuses what neither SQS nor SNS takes in a single message.
pub(super) fn check_contents(message: &Message, limit: usize) -> Result<(), SendError> {
    if message.body.is_empty() {
        return Err(SendError::EmptyBody);
    }
    let bytes = message.size();
    if bytes > limit {
        return Err(SendError::TooLong { bytes, limit });
    }
    for (index, (name, value)) in message.attributes.iter().enumerate() {
        let doubled = message.attributes[..index].iter().any(|(other, _)| other == name);
        if doubled || !is_attribute_name(name) {
            return Err(SendError::AttributeName(name));
        }
        if value.is_empty() {
            return Err(SendError::EmptyAttribute(name));
        }
    }
    for (what, id) in [
        ("the message group id", &message.group_id),
        ("the deduplication id", &message.deduplication_id),
    ] {
        if id.as_deref().is_some_and(|id| !is_id(id)) {
            return Err(SendError::Id(what));
        }
    }
    Ok(())
}

/// Refuses what SQS does not take but SNS does.
pub(super) fn check_for_queue(message: &Message) -> Result<(), SendError> {
    if !is_text(&message.body) {
        return Err(SendError::InvalidMessageContents("the body"));
    }
    if message.attributes.len() > ATTRIBUTES {
        return Err(SendError::TooManyAttributes(message.attributes.len()));
    }
    match message.attributes.iter().find(|(_, value)| !is_text(value)) {
        Some((name, _)) => Err(SendError::InvalidMessageContents(name)),
        None => Ok(()),
    }
}

fn is_text(text: &str) -> bool {
    let control = |b: &u8| *b < 0x20 && !matches!(*b, b'\t' | b'\n' | b'\r');
    // A `str` holds no surrogates, so only these two remain above the controls.
    !text.as_bytes().iter().any(control)
        && (text.is_ascii() || !text.contains(['\u{FFFE}', '\u{FFFF}']))
}

fn is_id(id: &str) -> bool {
    (1..=ID_CHARACTERS).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
}

fn is_attribute_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let reserved = |prefix: &str| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    (1..=NAME_CHARACTERS).contains(&name.len())
        && name.chars().all(plain)
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..")
        && !reserved("AWS.")
        && !reserved("Amazon.")
}

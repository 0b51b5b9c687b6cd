//! What a handler wants to happen next, said by the status that it returns.
//!
//! Without any of these a status is the job's outcome, unless its code is among
//! those that its route retries.
//!
//! ```
//! use queuebridge_worker::next;
//! use std::time::Duration;
//! use tonic::Status;
//!
//! fn quota_is_used_up() -> Status {
//!     next::retry_after(Status::unavailable("the quota is used up"), Duration::from_secs(60))
//! }
//!
//! fn not_yet() -> Status {
//!     next::snooze(Duration::from_secs(3600))
//! }
//! ```
//!
//! The same service behind a plain gRPC server answers with the same statuses,
//! and clients that know gRPC's retry pushback do what they say.

use queuebridge_proto::error::RETRY_PUSHBACK;
use std::time::Duration;
use tonic::Status;
use tonic::metadata::{MetadataMap, MetadataValue};

/// The trailer that carries the wish from the handler to the worker. It is taken
/// off there.
const NEXT: &str = "queuebridge-next";

/// What a handler asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// No further attempt, whatever the code.
    Fail,
    /// Another attempt, whatever the code, while there are attempts left.
    RetryAfter(Duration),
    /// Another call later, which is no further attempt.
    Snooze(Duration),
}

/// The job has failed with this status, for good: also if its route retries the
/// code.
#[must_use]
pub fn fail(status: Status) -> Status {
    say(status, "fail".to_owned(), "-1".to_owned())
}

/// Another attempt at once, also if the route does not retry the code. When the
/// attempts are used up, the job has failed with this status.
#[must_use]
pub fn retry_now(status: Status) -> Status {
    retry_after(status, Duration::ZERO)
}

/// Another attempt after this time instead of the route's backoff, also if the
/// route does not retry the code. When the attempts are used up, the job has
/// failed with this status. Queues keep a message back for at most twelve hours.
#[must_use]
pub fn retry_after(status: Status, after: Duration) -> Status {
    let millis = millis(after);
    say(status, format!("retry-after-ms={millis}"), millis.to_string())
}

/// The job is called again after this time, and this call does not count as an
/// attempt. Its work expiry stays: a job that is snoozed past it expires. Not
/// possible on ordered (FIFO) queues, which would reorder: the job then has
/// failed with `FAILED_PRECONDITION`/`SNOOZE_REFUSED`.
#[must_use]
pub fn snooze(time: Duration) -> Status {
    let millis = millis(time);
    let status = Status::unavailable("the handler asked to be called again later");
    say(status, format!("snooze-ms={millis}"), millis.to_string())
}

fn say(mut status: Status, next: String, pushback: String) -> Status {
    let entries = [(NEXT, next), (RETRY_PUSHBACK, pushback)];
    for (key, value) in entries {
        if let Ok(value) = MetadataValue::try_from(value) {
            status.metadata_mut().insert(key, value);
        }
    }
    status
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Takes the wish off a status.
pub(crate) fn take(metadata: &mut MetadataMap) -> Option<Next> {
    let value = metadata.remove(NEXT)?;
    let text = value.to_str().ok()?;
    let time = |millis: &str| millis.parse().ok().map(Duration::from_millis);
    match text.split_once('=') {
        None if text == "fail" => Some(Next::Fail),
        Some(("retry-after-ms", millis)) => time(millis).map(Next::RetryAfter),
        Some(("snooze-ms", millis)) => time(millis).map(Next::Snooze),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_handler_says_is_understood_and_taken_off() {
        let secs = Duration::from_secs;
        for (status, next, pushback) in [
            (fail(Status::aborted("")), Next::Fail, "-1"),
            (retry_now(Status::internal("")), Next::RetryAfter(secs(0)), "0"),
            (retry_after(Status::internal(""), secs(9)), Next::RetryAfter(secs(9)), "9000"),
            (snooze(secs(90_000)), Next::Snooze(secs(90_000)), "90000000"),
        ] {
            let mut metadata = status.metadata().clone();
            assert_eq!(take(&mut metadata), Some(next));
            assert_eq!(take(&mut metadata), None);
            assert_eq!(metadata.get(RETRY_PUSHBACK).unwrap(), pushback);
        }
    }

    #[test]
    fn nonsense_is_no_wish() {
        for text in ["", "later", "snooze-ms=", "snooze-ms=-1", "retry-after-ms=1s"] {
            let mut metadata = MetadataMap::new();
            metadata.insert(NEXT, text.parse().unwrap());
            assert_eq!(take(&mut metadata), None, "{text}");
        }
    }

    #[test]
    fn the_longest_time_is_still_a_time() {
        let mut metadata = snooze(Duration::MAX).metadata().clone();
        let expected = Next::Snooze(Duration::from_millis(u64::MAX));
        assert_eq!(take(&mut metadata), Some(expected));
    }
}

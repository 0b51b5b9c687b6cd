//! Telling the worker what should happen next.

use crate::refusal::{self, reason};
use crate::v1::next_request::Wish;
use queuebridge_worker::next;
use std::time::Duration;
use tonic::{Code, Status};

/// The longest time that can be asked for: a year.
pub(super) const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The status that says it.
pub(super) fn say(wish: Wish, after: Duration, call: u32, times: u32) -> Status {
    let message = format!("call {call} of {times} that say so");
    let status = refusal::status(Code::FailedPrecondition, reason::PROBE_FAILED, message);
    match wish {
        Wish::Unspecified => status,
        Wish::Fail => next::fail(status),
        Wish::Retry if after.is_zero() => next::retry_now(status),
        Wish::Retry => next::retry_after(status, after),
        Wish::Snooze => next::snooze(after),
    }
}

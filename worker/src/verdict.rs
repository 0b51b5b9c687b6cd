//! What should happen with a message next: the whole retry policy.
//!
//! | what was found | what is stored | verdict |
//! |---|---|---|
//! | handler answered OK, with one message or with a stream | succeeded | ack |
//! | handler answered with a stream, without a claim or as a branch of several | failed, `NO_STREAM` | ack |
//! | the request was a stream that broke off | cancelled | ack |
//! | a part of a streamed answer could not be stored | failed, `STORE_UNAVAILABLE`; or as the handler's `UNAVAILABLE` | ack, or redeliver |
//! | handler answered an error not in `retry_on` (also `UNIMPLEMENTED`: the method is unknown here) | failed | ack |
//! | handler answered an error in `retry_on` | claim released | redeliver after the backoff |
//! | … and the attempts are used up | failed, with that error | park |
//! | handler said [`next::fail`](crate::next::fail) | failed | ack |
//! | handler said [`next::retry_after`](crate::next::retry_after) | claim released | redeliver after that time |
//! | handler said [`next::snooze`](crate::next::snooze) | claim returned, the attempt not counted | send again with a delay, ack |
//! | … on an ordered queue | failed, `SNOOZE_REFUSED` | ack |
//! | a snoozed job's time has not come | nothing | send again with a delay, ack |
//! | handler panicked, or ran out of the host's time | claim released | redeliver after the backoff |
//! | … and the attempts are used up | failed, `HANDLER_PANICKED` or `HANDLER_TIMED_OUT` | park |
//! | more claims than attempts: workers died | failed, `ATTEMPTS_EXHAUSTED` | park |
//! | the last claim's lease ran out, lease policy `fail` | failed, `WORKER_LOST` | park |
//! | … lease policy `hold` | nothing | park |
//! | work expiry passed, before the start or while running | expired | ack |
//! | cancelled while running, or before its next attempt | cancelled | ack |
//! | finished or cancelled before: a duplicate | nothing | ack |
//! | … and a person sent it back from the parking queue | nothing | park |
//! | another attempt holds the claim | nothing | redeliver when its lease ends |
//! | lost the claim to another attempt | nothing | redeliver, to see what became of it |
//! | the job has a callback, and it cannot be enqueued | as found | redeliver; the job is not run again |
//! | answer too large to be stored | failed, `RESPONSE_TOO_LARGE` | ack |
//! | request gone from the payload store, or altered | failed, `PAYLOAD_LOST` | ack |
//! | a store cannot be reached | nothing | redeliver after the backoff |
//! | body does not decode, is not authentic, or is not encrypted where that is required | nothing | park |
//! | the message points to a body in S3 that may not be read, or is not there | nothing | park |
//! | body is of an unknown version, or sealed with an unknown key | nothing | redeliver, for a newer worker, until the queue dead-letters it |
//! | the data key of the body cannot be had: KMS throttles, the key is disabled, or none of this worker's | nothing | redeliver |
//! | the message is for other branches than this worker's | nothing | ack |
//! | it is for several branches, and `QB_BRANCH` does not say which one this is | nothing | redeliver |
//! | the job is a branch, and the stores cannot be asked whether its gather is decided | as found | redeliver; the job is not run again |
//! | an earlier message of the same ordered group was redelivered | nothing | redeliver unrun |
//! | the host ran out of time before the start | nothing | redeliver unrun |
//! | the host stopped while it ran | claim returned, the attempt not counted | redeliver |
//!
//! In the role of the dead-letter handler:
//!
//! | what was found | what is stored | verdict |
//! |---|---|---|
//! | succeeded or cancelled | nothing | ack |
//! | failed or expired | nothing | park |
//! | another attempt holds the claim | nothing | redeliver when its lease ends |
//! | its lease ran out, lease policy `hold` | nothing | park |
//! | anything else | failed, `DEAD_LETTERED`; or expired | park |
//! | KMS cannot be asked for the data key of the body | nothing | redeliver |
//! | the body cannot be opened, for another reason | nothing | park |
//!
//! *Park* means: copy the message to the parking queue, then write, then ack; or
//! redeliver if it cannot be copied. Without a parking queue it is a plain ack
//! after what was stored, and a redelivery where nothing was.

use queuebridge_proto::EnvelopeError;
use std::time::Duration;

/// What the host does with a message. Every delivery ends in exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Delete it: its job is finished.
    Ack,
    /// Make it visible again after this time.
    Redeliver {
        /// From now; the host rounds to whole seconds.
        after: Duration,
        /// Why.
        reason: Reason,
    },
}

/// Why a message is redelivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The handler answered a status that its route retries.
    #[error("the handler answered a status that is tried again, or asked for another attempt")]
    Retry,
    /// The handler panicked.
    #[error("the handler panicked")]
    Panicked,
    /// The handler did not finish within the host's time.
    #[error("the host's time ran out")]
    OutOfTime,
    /// Another attempt holds the claim.
    #[error("another attempt holds the claim")]
    Held,
    /// The claim went to another attempt while this one ran.
    #[error("the claim was lost to another attempt")]
    ClaimLost,
    /// A store could not be reached.
    #[error("a store cannot be reached")]
    StoreUnavailable,
    /// There is no data key to open the body with, or to encrypt one.
    #[error("a data key cannot be had")]
    KeyUnavailable,
    /// The parking queue could not be reached.
    #[error("the parking queue cannot be reached")]
    ParkingUnavailable,
    /// The callback queue could not be reached.
    #[error("the callback queue cannot be reached")]
    CallbackUnavailable,
    /// The message is for several branches, and the worker does not know which one it
    /// is.
    #[error("the worker does not know its branch")]
    NoBranch,
    /// The handler asked to be called later, and no delayed copy could be sent.
    #[error("the handler asked to be called later")]
    Snoozed,
    /// The body is not an envelope to be run.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// An earlier message of the group was redelivered.
    #[error("an earlier message of its group is redelivered")]
    FollowsFailure,
}

impl Reason {
    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Retry => "RETRY",
            Self::Panicked => "PANICKED",
            Self::OutOfTime => "OUT_OF_TIME",
            Self::Held => "HELD",
            Self::ClaimLost => "CLAIM_LOST",
            Self::StoreUnavailable => "STORE_UNAVAILABLE",
            Self::KeyUnavailable => "KEY_UNAVAILABLE",
            Self::ParkingUnavailable => "PARKING_UNAVAILABLE",
            Self::CallbackUnavailable => "CALLBACK_UNAVAILABLE",
            Self::NoBranch => "NO_BRANCH",
            Self::Snoozed => "SNOOZED",
            Self::Envelope(_) => "UNOPENED",
            Self::FollowsFailure => "FOLLOWS_FAILURE",
        }
    }
}

impl Verdict {
    /// Redelivery for a reason.
    #[must_use]
    pub fn redeliver(after: Duration, reason: Reason) -> Self {
        Self::Redeliver { after, reason }
    }

    /// Whether the message is deleted.
    #[must_use]
    pub fn is_ack(&self) -> bool {
        *self == Self::Ack
    }
}

/// The pause after the attempt or receive number `count`, from 1: doubling from
/// `initial` up to `max`, with a random part of up to half taken off so that jobs
/// that failed together do not come back together. `random` is from 0 to 1.
#[must_use]
pub fn backoff(count: u32, initial: Duration, max: Duration, random: f64) -> Duration {
    let doublings = count.saturating_sub(1).min(31);
    let pause = initial.saturating_mul(1 << doublings).min(max);
    pause.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_limit_and_keeps_at_least_half() {
        let secs = Duration::from_secs;
        assert_eq!(backoff(1, secs(1), secs(60), 0.0), secs(1));
        assert_eq!(backoff(4, secs(1), secs(60), 0.0), secs(8));
        assert_eq!(backoff(40, secs(1), secs(60), 0.0), secs(60));
        assert_eq!(backoff(4, secs(1), secs(60), 1.0), secs(4));
        assert_eq!(backoff(u32::MAX, Duration::MAX, secs(60), 0.0), secs(60));
    }
}

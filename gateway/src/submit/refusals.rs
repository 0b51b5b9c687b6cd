//! What callers hear whose jobs were not taken.

use super::FrontDoor;
use crate::admission::overloaded;
use crate::identity::Identity;
use crate::publish::PublishError;
use crate::submission::{Submission, too_large};
use queuebridge_proto::JobId;
use queuebridge_proto::error::{self, reason};
use queuebridge_store::StoreError;
use std::time::Duration;
use tonic::{Code, Status};

impl FrontDoor {
    /// The status of a job that was not published, or may not have been.
    pub(crate) fn refusal(
        &self,
        caller: &Identity,
        id: &JobId,
        job: &Submission,
        error: &PublishError,
    ) -> Status {
        tracing::warn!(job = %id, %error, "a job was not published");
        match error {
            PublishError::Full(_) => overloaded(),
            PublishError::Retryable(_) => error::retry_after(
                Code::Unavailable,
                reason::PUBLISH_FAILED,
                "the queue did not take the job",
                Duration::from_secs(1),
            ),
            PublishError::TooLarge(_) => {
                too_large("request", "larger than its queue's messages may be")
            }
            PublishError::Refused(_) => {
                let message = "the queue refused the job; see the gateway's log";
                error::do_not_retry(error::status(Code::Internal, reason::PUBLISH_FAILED, message))
            }
            PublishError::Unknown(_) => unknown(id, self.resubmit_token(caller, id, job)),
        }
    }
}

pub(super) fn unknown(id: &JobId, token: Option<String>) -> Status {
    let (code, reason) = (Code::Unavailable, reason::PUBLISH_OUTCOME_UNKNOWN);
    let id = ("job_id", id.to_string());
    error::do_not_retry(match token {
        Some(token) => {
            let message = "it is unknown whether the queue took the job: look it up by job_id, \
                           or submit the same again with resubmit_token";
            error::status_with(code, reason, message, [id, ("resubmit_token", token)])
        }
        None => {
            let message = "it is unknown whether the queue took the job: look it up by job_id";
            error::status_with(code, reason, message, [id])
        }
    })
}

pub(crate) fn unreachable(error: StoreError) -> Status {
    tracing::warn!(%error, "a submission could not be recorded");
    unavailable("the result store cannot be reached")
}

pub(super) fn unavailable(message: &str) -> Status {
    let reason = reason::STORE_UNAVAILABLE;
    error::retry_after(Code::Unavailable, reason, message, Duration::from_secs(1))
}

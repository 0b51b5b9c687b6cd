//! What callers hear whose jobs were not taken.

use crate::admission::overloaded;
use crate::publish::PublishError;
use queuebridge_proto::JobId;
use queuebridge_proto::error::{self, reason};
use queuebridge_store::StoreError;
use std::time::Duration;
use tonic::{Code, Status};

pub(crate) fn refusal(error: &PublishError, id: &JobId) -> Status {
    tracing::warn!(job = %id, %error, "a job was not published");
    match error {
        PublishError::Full(_) => overloaded(),
        PublishError::Retryable(_) => error::retry_after(
            Code::Unavailable,
            reason::PUBLISH_FAILED,
            "the queue did not take the job",
            Duration::from_secs(1),
        ),
        PublishError::Refused(_) => {
            let message = "the queue refused the job; see the gateway's log";
            error::do_not_retry(error::status(Code::Internal, reason::PUBLISH_FAILED, message))
        }
        PublishError::Unknown(_) => {
            let message = "nobody can know whether the queue took the job; look up or submit \
                           again under job_id";
            error::do_not_retry(error::status_with(
                Code::Unavailable,
                reason::PUBLISH_OUTCOME_UNKNOWN,
                message,
                [("job_id", id.to_string())],
            ))
        }
    }
}

pub(crate) fn unreachable(error: StoreError) -> Status {
    tracing::warn!(%error, "a submission could not be recorded");
    unavailable("the result store cannot be reached")
}

pub(super) fn unavailable(message: &str) -> Status {
    let reason = reason::STORE_UNAVAILABLE;
    error::retry_after(Code::Unavailable, reason, message, Duration::from_secs(1))
}

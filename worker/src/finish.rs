//! Finishing a job: the outcome is stored once, then the message is
//! acknowledged.

use crate::claim;
use crate::dispatch::Answer;
use crate::ended;
use crate::job::Job;
use crate::journal;
use crate::runner::random;
use crate::verdict::{Reason, Verdict, backoff};
use bytes::Bytes;
use prost::Message;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::outcome;
use queuebridge_proto::v1::{Outcome, State, outcome::Result as Kind};
use queuebridge_store::{Author, Completed, End, PayloadError, payload};
use std::time::Duration;
use tokio::time::sleep;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_types::Status as RpcStatus;

/// How often a finished job is offered to the store before its message is
/// redelivered: the work would be repeated, so it is worth some patience.
const TRIES: u32 = 4;
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How a job ends.
pub(crate) enum Ending {
    /// The handler answered.
    Answered(Box<Answer>),
    /// It failed without an answer of the handler.
    Failed(Status),
    /// It was not finished in time.
    Expired,
    /// It gave way to a cancellation.
    Cancelled,
}

/// Stores the ending, once.
pub(crate) async fn store(job: &Job<'_>, ending: Ending) -> Verdict {
    store_as(job, job.author, ending).await
}

/// Stores the ending in the name of `author`.
pub(crate) async fn store_as(job: &Job<'_>, author: Author, ending: Ending) -> Verdict {
    let (state, outcome) = match ending {
        Ending::Answered(answer) if answer.code == Code::Ok => {
            match place_response(job, answer.outcome).await {
                Ok(placed) => placed,
                Err(error) => {
                    tracing::warn!(job = %job.id, %error, "an answer could not be stored");
                    return unreachable();
                }
            }
        }
        Ending::Answered(answer) => (State::Failed, answer.outcome),
        Ending::Failed(status) => (State::Failed, failed(&status)),
        Ending::Expired => (State::Expired, outcome::expired()),
        Ending::Cancelled => (State::Cancelled, outcome::cancelled()),
    };
    let (state, mut outcome) = bounded(job, state, outcome);
    outcome.retry_of.clone_from(&job.call.retry_of);
    if state == State::Succeeded {
        outcome.response_type = response_type(job);
    }
    complete(job, author, state, outcome).await
}

async fn complete(job: &Job<'_>, author: Author, state: State, outcome: Outcome) -> Verdict {
    let store = &job.runner.store;
    let method = job.method.as_str();
    let (mut state, mut outcome) = (state, outcome);
    for attempt in 1.. {
        let now = job.runner.clock.now();
        // The claim has stored it, where there was one.
        let origin = (!matches!(author, Author::Claim(_))).then(|| job.origin());
        let end = End { state, outcome: outcome.clone(), origin };
        match store.complete(&job.id, method, author, end, now).await {
            Ok(Completed::Stored) => {
                job.seen.finished(state);
                journal::ended(state, &outcome);
                return ended::stored(job, state, outcome, now).await;
            }
            Ok(Completed::AlreadyFinished) => {
                // Perhaps by this very attempt, whose call lost its response.
                return ended::found(job).await;
            }
            Ok(Completed::Lost) => {
                return Verdict::redeliver(Duration::from_secs(1), Reason::ClaimLost);
            }
            Ok(Completed::PastExpiry) => {
                (state, outcome) = (State::Expired, outcome::expired());
            }
            Err(error) => {
                tracing::warn!(job = %job.id, attempt, %error, "a job could not be finished");
                if attempt >= TRIES {
                    return unreachable();
                }
                sleep(backoff(attempt, BACKOFF, BACKOFF_MAX, random())).await;
            }
        }
    }
    unreachable()
}

/// Puts a large response into the payload store.
async fn place_response(
    job: &Job<'_>,
    mut outcome: Outcome,
) -> Result<(State, Outcome), PayloadError> {
    let settings = &job.runner.settings;
    let Some(Kind::Response(response)) = &outcome.result else {
        return Ok((State::Succeeded, outcome));
    };
    if response.len() > settings.max_response_bytes {
        return Ok((State::Failed, failed(&too_large(response.len()))));
    }
    if response.len() > settings.inline_response_bytes
        && let Some(payloads) = &job.runner.payloads
    {
        // The token keeps the answers of two attempts apart.
        let attempt = match job.author {
            Author::Claim(token) => token.to_string(),
            Author::Unclaimed | Author::Expiry => uuid::Uuid::new_v4().simple().to_string(),
        };
        let key = payload::answer_key(&job.call.tenant, &job.id, &attempt);
        let stored = claim::kept(job, payloads.put(&key, Bytes::clone(response))).await?;
        outcome.result = Some(Kind::ResponseRef(stored));
    }
    Ok((State::Succeeded, outcome))
}

fn response_type(job: &Job<'_>) -> String {
    let descriptors = job.runner.settings.descriptors.as_ref();
    let path = job.method.as_str().trim_start_matches('/');
    descriptors.and_then(|all| all.response_type(path)).unwrap_or_default().to_owned()
}

/// What the result store cannot hold becomes a failure that says so; an error keeps its
/// code.
fn bounded(job: &Job<'_>, state: State, outcome: Outcome) -> (State, Outcome) {
    let (size, most) = (outcome.encoded_len(), job.runner.settings.record_bytes);
    if size <= most {
        return (state, outcome);
    }
    match outcome {
        Outcome { result: Some(Kind::Error(status)), stream, .. } => {
            let result = Some(Kind::Error(shortened(status, size, most / 4)));
            (state, Outcome { result, stream, ..Outcome::default() })
        }
        _ => (State::Failed, failed(&too_large(size))),
    }
}

/// The begin of an error, with `room` bytes for its text and for its details, and the
/// reason why that is not all.
fn shortened(mut status: RpcStatus, size: usize, room: usize) -> RpcStatus {
    let mut end = room.min(status.message.len());
    while !status.message.is_char_boundary(end) {
        end -= 1;
    }
    status.message.truncate(end);
    let mut left = room;
    let fitting = status.details.iter().take_while(|detail| {
        let len = detail.encoded_len();
        let fits = len <= left;
        left = left.saturating_sub(len);
        fits
    });
    let count = fitting.count();
    status.details.truncate(count);
    status.details.extend(outcome::to_rpc_status(&too_large(size)).details);
    status
}

fn too_large(size: usize) -> Status {
    let message = format!("the answer of {size} bytes is larger than may be stored");
    error::status(Code::ResourceExhausted, reason::RESPONSE_TOO_LARGE, message)
}

fn failed(status: &Status) -> Outcome {
    outcome::failure(status, &MetadataMap::new())
}

fn unreachable() -> Verdict {
    Verdict::redeliver(Duration::from_secs(2), Reason::StoreUnavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_cannot_be_stored_is_cut_and_keeps_its_code() {
        let detail = prost_types::Any { type_url: "t/a".into(), value: vec![7; 300] };
        let details = vec![detail.clone(); 9];
        let status = RpcStatus { code: 9, message: "\u{20ac}".repeat(999), details };
        let short = shortened(status, 9_999, 1_000);
        assert_eq!((short.code, short.message.as_str()), (9, &*"\u{20ac}".repeat(333)));
        assert_eq!(short.details[..3], vec![detail; 3]);
        assert_eq!(short.details.len(), 4, "and why that is not all");
    }
}

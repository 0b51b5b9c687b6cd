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

/// What the result store cannot hold becomes a failure that says so.
fn bounded(job: &Job<'_>, state: State, outcome: Outcome) -> (State, Outcome) {
    let size = outcome.encoded_len();
    if size <= job.runner.settings.record_bytes {
        (state, outcome)
    } else {
        (State::Failed, failed(&too_large(size)))
    }
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

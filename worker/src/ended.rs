//! What follows the end of a job: those who wait, and those who are to be called back,
//! learn of it. Only then its message may be acknowledged; a redelivery finds the job
//! finished, and repeats this and not the job.

use crate::announce;
use crate::callback;
use crate::gather;
use crate::job::Job;
use crate::verdict::Verdict;
use queuebridge_proto::UnixMillis;
use queuebridge_proto::v1::{Outcome, State};

/// The job has just been stored as finished.
pub(crate) async fn stored(
    job: &Job<'_>,
    state: State,
    outcome: Outcome,
    at: UnixMillis,
) -> Verdict {
    if let Some(id) = &job.gather {
        return gather::ended(job, id, state, &outcome, at).await;
    }
    announce::finished(job, state, outcome, at).await;
    callback::enqueue(job).await
}

/// The job was finished before, perhaps by this very attempt.
pub(crate) async fn found(job: &Job<'_>) -> Verdict {
    if let Some(id) = &job.gather {
        return gather::found(job, id).await;
    }
    announce::found_finished(job).await;
    callback::enqueue(job).await
}

/// The job was over before this delivery: whoever ended it may not have come to what
/// follows.
pub(crate) async fn again(job: &Job<'_>) -> Verdict {
    match &job.gather {
        Some(id) => gather::found(job, id).await,
        None => callback::enqueue(job).await,
    }
}

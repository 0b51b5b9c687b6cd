//! What arrives in a dead letter queue: messages whose workers crashed, ran out
//! of time or memory, or were never started. Nobody else would finish their jobs.

use crate::claim;
use crate::ended;
use crate::finish::{self, Ending};
use crate::job::Job;
use crate::park;
use crate::verdict::{Reason, Verdict};
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::v1::{LeasePolicy, State};
use std::time::Duration;
use tonic::Code;

const STORE_BACKOFF: Duration = Duration::from_secs(10);

/// Finishes the job of a dead letter, unless somebody did or still may, and
/// parks the message.
pub(crate) async fn run(mut job: Job<'_>) -> Verdict {
    let now = job.now();
    let mut record = match job.runner.store.get(&job.id, now).await {
        Ok(record) => record,
        Err(error) => {
            tracing::warn!(job = %job.id, %error, "a dead letter could not be looked up");
            return Verdict::redeliver(STORE_BACKOFF, Reason::StoreUnavailable);
        }
    };
    job.adopt(record.as_mut().and_then(|record| record.origin.take()));
    let job = &job;
    match record {
        // It succeeded after all: there is nothing to repeat.
        Some(record) if matches!(record.state, State::Succeeded | State::Cancelled) => {
            job.over().await
        }
        Some(record) if record.is_terminal() => parked(job).await,
        Some(record) if record.token.is_some() && record.lease_until > now => {
            Verdict::redeliver(now.until(record.lease_until), Reason::Held)
        }
        Some(record)
            if record.token.is_some()
                && claim::policy(job) == LeasePolicy::Hold
                && !job.is_expired() =>
        {
            park::held(job).await
        }
        _ => finish(job).await,
    }
}

/// A job that ended in another way may be worth repeating.
async fn parked(job: &Job<'_>) -> Verdict {
    let told = ended::again(job).await;
    if !told.is_ack() {
        return told;
    }
    let parked = park::copy(job, park::reason::DEAD_LETTERED).await;
    parked.map_or_else(|verdict| verdict, |_| Verdict::Ack)
}

async fn finish(job: &Job<'_>) -> Verdict {
    if let Err(verdict) = park::copy(job, park::reason::DEAD_LETTERED).await {
        return verdict;
    }
    let ending = if job.is_expired() {
        Ending::Expired
    } else {
        let receives = job.delivery.receive_count;
        let message = format!("the job's message was dead-lettered after {receives} receives");
        Ending::Failed(error::status(Code::Unavailable, reason::DEAD_LETTERED, message))
    };
    finish::store(job, ending).await
}

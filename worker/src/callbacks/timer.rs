//! The timer of a job with a callback: at the job's work expiry it sees to it that the
//! job is finished when nobody else does, because no worker runs or its message is
//! lost.

use super::{BACKOFF, Work};
use crate::gather;
use crate::journal;
use crate::verdict::{Reason, Verdict};
use queuebridge_proto::outcome;
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::{Announcement, FinishedJob, State};
use queuebridge_store::gather::Cause;
use queuebridge_store::{Author, Completed, End, StoreError};
use std::time::Duration;

/// The pause of a timer that came before its time: clocks differ by little.
const EARLY: Duration = Duration::from_secs(1);

/// What the timer found.
enum Found {
    /// It has expired, now or before: the callback is to be made.
    Expired,
    /// It has ended in another way: whoever ended it has enqueued the callback.
    Ended,
    /// By the store's rules it is still too early.
    Early,
}

pub(super) async fn run(work: &Work<'_>) -> Verdict {
    match find(work).await {
        Ok(Found::Expired) if work.message.callback.is_some() => work.deliver().await,
        // A gather has a timer also when nobody is to be told.
        Ok(Found::Expired) => Verdict::Ack,
        Ok(Found::Ended) => Verdict::Ack,
        Ok(Found::Early) => {
            let due = work.id.expires_at().plus(CLOCK_SKEW);
            work.again(work.message.clone(), due.max(work.now().plus(EARLY))).await
        }
        Err(error) => {
            tracing::warn!(job = %work.id, %error, "a timer could not look its job up");
            Verdict::redeliver(BACKOFF, Reason::StoreUnavailable)
        }
    }
}

async fn find(work: &Work<'_>) -> Result<Found, StoreError> {
    let (store, now) = (&work.runner.store, work.now());
    if work.id.is_gather() {
        return find_gather(work).await;
    }
    if let Some(record) = store.get(&work.id, now).await?.filter(|record| record.is_terminal()) {
        return Ok(by(record.state));
    }
    let end = End::new(State::Expired, outcome::expired());
    match store.complete(&work.id, &work.message.method, Author::Expiry, end, now).await? {
        Completed::Stored => {
            journal::expired(&work.id, &work.message.method);
            announce(work).await;
            Ok(Found::Expired)
        }
        Completed::AlreadyFinished => {
            let record = store.get(&work.id, now).await?;
            Ok(record.map_or(Found::Expired, |record| by(record.state)))
        }
        Completed::Lost | Completed::PastExpiry => Ok(Found::Early),
    }
}

/// A gather is decided by now at the latest. What was decided by a branch is told by
/// that branch's worker. When nobody can say any more by whom, it is told once more rather
/// than never.
async fn find_gather(work: &Work<'_>) -> Result<Found, StoreError> {
    let (gathers, now) = (&work.runner.gathers, work.now());
    let Some(record) = gathers.close(&work.id, Cause::Deadline, now).await? else {
        if gathers.gathers.plan(&work.id, now).await?.is_some() {
            return Ok(Found::Early);
        }
        tracing::error!(job = %work.id, "the plan of a gather is lost, or its time is over");
        return Ok(Found::Ended);
    };
    if gather::decided_by(&record).is_some_and(|branch| branch > 0) {
        return Ok(Found::Ended);
    }
    journal::decided(&work.id, &record);
    gathers.cancel_rest(&work.id, &record, now).await?;
    tell(work, record.outcome.is_some().then(|| record.into_finished())).await;
    Ok(Found::Expired)
}

fn by(state: State) -> Found {
    if state == State::Expired { Found::Expired } else { Found::Ended }
}

async fn announce(work: &Work<'_>) {
    let finished = FinishedJob {
        state: State::Expired as i32,
        method: work.message.method.clone(),
        completed_at: work.id.expires_at().0,
        outcome: Some(outcome::expired()),
        ..FinishedJob::default()
    };
    tell(work, Some(finished)).await;
}

async fn tell(work: &Work<'_>, finished: Option<FinishedJob>) {
    let shard = work.message.reply_shard.as_str();
    if shard.is_empty() {
        return;
    }
    let job = work.id.uuid().into_bytes().to_vec().into();
    let announcement = Announcement { job, finished, ..Announcement::default() };
    if let Err(error) = work.runner.outbox.announce(shard, vec![announcement]).await {
        tracing::warn!(job = %work.id, %error, "an expired job was not announced");
    }
}

//! The timer of a job with a callback: at the job's work expiry it sees to it that the
//! job is finished when nobody else does, because no worker runs or its message is
//! lost.

use super::{BACKOFF, Work};
use crate::verdict::{Reason, Verdict};
use queuebridge_proto::outcome;
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::{Announcement, FinishedJob, State};
use queuebridge_store::{Author, Completed, StoreError};

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
        Ok(Found::Expired) => work.deliver().await,
        Ok(Found::Ended) => Verdict::Ack,
        Ok(Found::Early) => {
            let due = work.id.expires_at().plus(CLOCK_SKEW);
            work.again(work.message.clone(), due.max(work.now().plus(BACKOFF))).await
        }
        Err(error) => {
            tracing::warn!(job = %work.id, %error, "a timer could not look its job up");
            Verdict::redeliver(BACKOFF, Reason::StoreUnavailable)
        }
    }
}

async fn find(work: &Work<'_>) -> Result<Found, StoreError> {
    let (store, now) = (&work.runner.store, work.now());
    if let Some(record) = store.get(&work.id, now).await?.filter(|record| record.is_terminal()) {
        return Ok(by(record.state));
    }
    let (method, end) = (work.message.method.as_str(), outcome::expired());
    match store.complete(&work.id, method, Author::Expiry, State::Expired, end, now).await? {
        Completed::Stored => {
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

fn by(state: State) -> Found {
    if state == State::Expired { Found::Expired } else { Found::Ended }
}

async fn announce(work: &Work<'_>) {
    let shard = work.message.reply_shard.as_str();
    if shard.is_empty() {
        return;
    }
    let finished = FinishedJob {
        state: State::Expired as i32,
        method: work.message.method.clone(),
        completed_at: work.id.expires_at().0,
        outcome: Some(outcome::expired()),
        ..FinishedJob::default()
    };
    let job = work.id.uuid().into_bytes().to_vec().into();
    let announcement = Announcement { job, finished: Some(finished) };
    if let Err(error) = work.runner.outbox.announce(shard, vec![announcement]).await {
        tracing::warn!(job = %work.id, %error, "an expired job was not announced");
    }
}

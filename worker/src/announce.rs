//! Announcing finished jobs to the gateway that reads their reply shard.
//!
//! Announcements of one shard that come while another is being sent go together,
//! with the next call. Nothing here lives longer than the job that announces:
//! where the process may be frozen after a batch, nothing is left behind.

use crate::job::Job;
use crate::outbox::Outbox;
use bytes::Bytes;
use queuebridge_proto::JobId;
use queuebridge_proto::UnixMillis;
use queuebridge_proto::v1::{Announcement, FinishedJob, Outcome, State};
use queuebridge_store::Token;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// An announcement is worth no more: whoever waits looks by itself.
const PATIENCE: Duration = Duration::from_secs(2);

/// The job has just been stored as finished.
pub(crate) async fn finished(job: &Job<'_>, state: State, outcome: Outcome, at: UnixMillis) {
    // An expiry has one time, whoever notices it.
    let at = if state == State::Expired { job.id.expires_at() } else { at };
    // What the handler has reported, and that it was to be cancelled, stands only
    // in the store.
    let finished = (!job.reports.stored()).then(|| FinishedJob {
        state: state as i32,
        method: job.method.to_string(),
        attempt: job.claims(),
        started_at: job.started_at.unwrap_or_default().0,
        completed_at: at.0,
        outcome: Some(outcome),
    });
    announce(job, &job.id, finished).await;
}

/// The job was found finished: by whom and how is in the store.
pub(crate) async fn found_finished(job: &Job<'_>) {
    announce(job, &job.id, None).await;
}

/// The job has begun to answer with a stream.
pub(crate) async fn streaming(job: &Job<'_>, attempt: Token) {
    let attempt = Bytes::copy_from_slice(attempt.as_bytes());
    send(job, Announcement { streaming: attempt, ..of(&job.id) }).await;
}

/// Announces `id`, which is the job, or the gather that it belongs to.
pub(crate) async fn announce(job: &Job<'_>, id: &JobId, finished: Option<FinishedJob>) {
    send(job, Announcement { finished, ..of(id) }).await;
}

fn of(id: &JobId) -> Announcement {
    let job = Bytes::copy_from_slice(id.uuid().as_bytes());
    Announcement { job, finished: None, streaming: Bytes::new() }
}

async fn send(job: &Job<'_>, announcement: Announcement) {
    let shard = job.call.reply_shard.as_str();
    if shard.is_empty() {
        return;
    }
    job.runner.announcer.announce(&*job.runner.outbox, shard, announcement).await;
}

/// The announcements of a process that are waiting for their turn.
#[derive(Debug, Default)]
pub(crate) struct Announcer {
    lanes: Mutex<HashMap<String, Arc<Lane>>>,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: Mutex<Waiting>,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: Vec<Announcement>,
    /// How many have come so far.
    come: u64,
    /// How many of them were taken along.
    taken: u64,
}

impl Announcer {
    /// Returns when the announcement was sent, or has failed.
    async fn announce(&self, outbox: &dyn Outbox, shard: &str, job: Announcement) {
        let lane = self.lane(shard);
        let number = lane.put(job);
        let _turn = lane.turn.lock().await;
        let Some(jobs) = lane.take(number) else { return };
        let count = jobs.len();
        match timeout(PATIENCE, outbox.announce(shard, jobs)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, count, "finished jobs were not announced"),
            Err(_) => tracing::warn!(count, "finished jobs were not announced in time"),
        }
    }

    fn lane(&self, shard: &str) -> Arc<Lane> {
        let mut lanes = lock(&self.lanes);
        match lanes.get(shard) {
            Some(lane) => lane.clone(),
            None => lanes.entry(shard.to_owned()).or_default().clone(),
        }
    }
}

impl Lane {
    fn put(&self, job: Announcement) -> u64 {
        let mut waiting = lock(&self.waiting);
        waiting.jobs.push(job);
        waiting.come += 1;
        waiting.come
    }

    /// All that wait, unless number `number` was taken along before.
    fn take(&self, number: u64) -> Option<Vec<Announcement>> {
        let mut waiting = lock(&self.waiting);
        if waiting.taken >= number {
            return None;
        }
        waiting.taken = waiting.come;
        Some(std::mem::take(&mut waiting.jobs))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::{OutboxError, Outgoing};
    use async_trait::async_trait;
    use tokio::time::{Instant, sleep};

    /// Takes a second for each call, and notes how many jobs it carried.
    #[derive(Default)]
    struct Slow {
        calls: Mutex<Vec<usize>>,
        deaf: bool,
    }

    #[async_trait]
    impl Outbox for Slow {
        async fn resend(&self, _: &str, _: Outgoing, _: Duration) -> Result<(), OutboxError> {
            unreachable!()
        }

        fn parks(&self) -> bool {
            false
        }

        async fn park(&self, _: Outgoing) -> Result<(), OutboxError> {
            unreachable!()
        }

        async fn call_back(&self, _: Outgoing) -> Result<(), OutboxError> {
            unreachable!()
        }

        async fn announce(&self, _: &str, jobs: Vec<Announcement>) -> Result<(), OutboxError> {
            lock(&self.calls).push(jobs.len());
            sleep(Duration::from_secs(if self.deaf { 3600 } else { 1 })).await;
            Err(OutboxError::Unsent("nobody is there".into()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_during_a_call_goes_with_the_next() {
        let (announcer, outbox) = (Announcer::default(), Slow::default());
        let announce = |_| announcer.announce(&outbox, "shard", Announcement::default());
        futures_util::future::join_all((0..50).map(announce)).await;
        assert_eq!(*lock(&outbox.calls), [1, 49]);
    }

    #[tokio::test(start_paused = true)]
    async fn shards_do_not_wait_for_each_other() {
        let (announcer, outbox) = (Announcer::default(), Slow::default());
        let announce = |shard| announcer.announce(&outbox, shard, Announcement::default());
        let begun = Instant::now();
        futures_util::future::join_all(["a", "b"].map(announce)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_that_does_not_answer_holds_no_job_for_long() {
        let (announcer, outbox) = (Announcer::default(), Slow { deaf: true, ..Slow::default() });
        let begun = Instant::now();
        announcer.announce(&outbox, "shard", Announcement::default()).await;
        assert_eq!(begun.elapsed(), PATIENCE);
    }
}

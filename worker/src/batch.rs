//! Running a batch of deliveries: each in its own task, with its own verdict.

use crate::delivery::Delivery;
use crate::job;
use crate::runner::Runner;
use crate::verdict::{Reason, Verdict};
use futures_util::FutureExt;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// A batch that is running. Dropping it ends all of its tasks: nothing outlives
/// an invocation.
pub struct Batch {
    verdicts: mpsc::UnboundedReceiver<(usize, Verdict)>,
    missing: Vec<bool>,
    ends_at: Option<Instant>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// How long a stopped batch may take to release its claims.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Starts a batch. Verdicts come as the deliveries finish. Deliveries of one
/// ordered group run one after the other, and after the first that is
/// redelivered the rest of the group is redelivered unrun. `ends_at` is the end
/// of the host's time, if it has one.
#[must_use]
pub fn start(runner: &Arc<Runner>, deliveries: Vec<Delivery>, ends_at: Option<Instant>) -> Batch {
    let (sender, verdicts) = mpsc::unbounded_channel();
    let missing = vec![true; deliveries.len()];
    let places = Arc::new(Semaphore::new(runner.settings.concurrency));
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    for lane in lanes(deliveries) {
        let (runner, sender, places) = (runner.clone(), sender.clone(), places.clone());
        let limits = Limits { ends_at, stop: stop.clone() };
        tasks.spawn(async move {
            let _place = places.acquire().await;
            run_lane(&runner, lane, &limits, &sender).await;
        });
    }
    Batch { verdicts, missing, ends_at, stop, tasks }
}

/// Runs a whole batch and returns one verdict per delivery, in order.
pub async fn run(
    runner: &Arc<Runner>,
    deliveries: Vec<Delivery>,
    ends_at: Option<Instant>,
) -> Vec<Verdict> {
    let mut verdicts: Vec<Option<Verdict>> = vec![None; deliveries.len()];
    let mut batch = start(runner, deliveries, ends_at);
    while let Some((index, verdict)) = batch.next().await {
        verdicts[index] = Some(verdict);
    }
    verdicts.into_iter().map(|verdict| verdict.unwrap_or_else(unfinished)).collect()
}

impl Batch {
    /// The next verdict with the index of its delivery; `None` once every
    /// delivery has its own.
    pub async fn next(&mut self) -> Option<(usize, Verdict)> {
        let next = match self.ends_at {
            Some(end) => timeout_at(end, self.verdicts.recv()).await.ok().flatten(),
            None => self.verdicts.recv().await,
        };
        let (index, verdict) = match next {
            Some(next) => next,
            // The time is over, or a task died without a word: what is missing is
            // redelivered, once each.
            None => {
                self.tasks.abort_all();
                match self.verdicts.try_recv() {
                    Ok(next) => next,
                    Err(_) => (self.missing.iter().position(|missing| *missing)?, unfinished()),
                }
            }
        };
        self.missing[index] = false;
        Some((index, verdict))
    }

    /// A further verdict, if there is one at this moment.
    pub fn ready(&mut self) -> Option<(usize, Verdict)> {
        let (index, verdict) = self.verdicts.try_recv().ok()?;
        self.missing[index] = false;
        Some((index, verdict))
    }

    /// Ends what runs, and starts no more: the claims are released, and the
    /// deliveries are redelivered.
    pub fn stop(&mut self) {
        self.stop.cancel();
        self.ends_at = Some(Instant::now() + STOP_GRACE);
    }
}

fn unfinished() -> Verdict {
    Verdict::redeliver(Duration::ZERO, Reason::OutOfTime)
}

type Lane = Vec<(usize, Delivery)>;

/// Deliveries that wait for each other share a lane.
fn lanes(deliveries: Vec<Delivery>) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = Vec::with_capacity(deliveries.len());
    let mut groups: HashMap<String, usize> = HashMap::new();
    for (index, delivery) in deliveries.into_iter().enumerate() {
        match &delivery.fifo_group {
            Some(group) => {
                let lane = *groups.entry(group.clone()).or_insert(lanes.len());
                if lane == lanes.len() {
                    lanes.push(Vec::new());
                }
                lanes[lane].push((index, delivery));
            }
            None => lanes.push(vec![(index, delivery)]),
        }
    }
    lanes
}

/// What ends a delivery from outside.
pub(crate) struct Limits {
    /// The end of the host's time.
    pub(crate) ends_at: Option<Instant>,
    /// Fires when the host gives up before that.
    pub(crate) stop: CancellationToken,
}

async fn run_lane(
    runner: &Runner,
    lane: Lane,
    limits: &Limits,
    verdicts: &mpsc::UnboundedSender<(usize, Verdict)>,
) {
    let mut failed = false;
    for (index, delivery) in lane {
        let verdict = if failed {
            Verdict::redeliver(Duration::ZERO, Reason::FollowsFailure)
        } else if limits.stop.is_cancelled() {
            unfinished()
        } else {
            // The handler has a guard of its own; this one is for our mistakes.
            let run = AssertUnwindSafe(job::run(runner, &delivery, limits)).catch_unwind();
            run.await.unwrap_or_else(|_| {
                tracing::error!("running a delivery panicked");
                Verdict::redeliver(Duration::from_secs(1), Reason::Panicked)
            })
        };
        failed |= !verdict.is_ack();
        // Nobody listens any more once the batch was dropped.
        let _ = verdicts.send((index, verdict));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_deliveries_of_one_group_wait_for_each_other() {
        let delivery = |group: Option<&str>| Delivery {
            body: "".into(),
            receive_count: 1,
            fifo_group: group.map(str::to_owned),
        };
        let groups = [Some("a"), None, Some("b"), Some("a"), None];
        let lanes = lanes(groups.map(delivery).into());
        let indexes: Vec<Vec<usize>> =
            lanes.iter().map(|lane| lane.iter().map(|(index, _)| *index).collect()).collect();
        assert_eq!(indexes, [vec![0, 3], vec![1], vec![2], vec![4]]);
    }
}

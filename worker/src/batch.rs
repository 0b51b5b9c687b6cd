//! Running a batch of deliveries: each in its own task, with its own verdict.

use crate::delivery::Delivery;
use crate::host::pointers::{self, Pointer, PointerError};
use crate::job::{self, Job, NoJob};
use crate::runner::{Role, Runner};
use crate::telemetry::{BatchMetrics, BatchSpan, Observation, Parts};
use crate::verdict::{Reason, Verdict};
use crate::{callbacks, dead_letters, park};
use futures_util::FutureExt;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// A batch that is running. Dropping it ends all of its tasks: nothing outlives
/// an invocation.
pub struct Batch {
    verdicts: mpsc::UnboundedReceiver<Finished>,
    metrics: Option<BatchMetrics>,
    missing: Vec<bool>,
    ends_at: Option<Instant>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// A delivery's index, its verdict, and what was seen of it, if anyone wants to
/// know.
type Finished = (usize, Verdict, Option<Box<Parts>>);

/// How long a batch goes on after its handlers were ended, to give their claims
/// back and to write what became of them.
pub const FINISH_GRACE: Duration = Duration::from_millis(500);
/// Between two receives of a message for several branches, where the worker does not
/// know which one it is: until somebody has told it.
const NO_BRANCH_BACKOFF: Duration = Duration::from_secs(60);
/// How long a stopped batch may take to release its claims.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Starts a batch. Verdicts come as the deliveries finish. Deliveries of one
/// ordered group run one after the other, and after the first that is
/// redelivered the rest of the group is redelivered unrun. At `ends_at` handlers
/// are ended, and the batch itself [`FINISH_GRACE`] later.
#[must_use]
pub fn start(runner: &Arc<Runner>, deliveries: Vec<Delivery>, ends_at: Option<Instant>) -> Batch {
    let (sender, verdicts) = mpsc::unbounded_channel();
    let missing = vec![true; deliveries.len()];
    let metrics = runner.settings.telemetry.metrics(runner.clock, &deliveries);
    let span = runner.settings.telemetry.span(&deliveries);
    let places = Arc::new(Semaphore::new(runner.settings.concurrency));
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    for lane in lanes(deliveries) {
        let (runner, sender, places) = (runner.clone(), sender.clone(), places.clone());
        let limits = Limits { ends_at, stop: stop.clone() };
        let span = span.clone();
        tasks.spawn(async move {
            let _place = places.acquire().await;
            // What a job needs while it runs is large, and most of a large batch
            // waits for its place: it is made only now.
            Box::pin(run_lane(&runner, lane, &limits, &span, &sender)).await;
        });
    }
    let ends_at = ends_at.map(|end| end + FINISH_GRACE);
    Batch { verdicts, metrics, missing, ends_at, stop, tasks }
}

/// Runs a whole batch and returns one verdict per delivery, in order. `stopping`
/// ends it early, as [`Batch::stop`] does.
pub async fn run(
    runner: &Arc<Runner>,
    deliveries: Vec<Delivery>,
    ends_at: Option<Instant>,
    stopping: &CancellationToken,
) -> Vec<Verdict> {
    let mut verdicts: Vec<Option<Verdict>> = vec![None; deliveries.len()];
    let mut batch = start(runner, deliveries, ends_at);
    let mut stopped = false;
    loop {
        tokio::select! {
            biased;
            next = batch.next() => match next {
                Some((index, verdict)) => verdicts[index] = Some(verdict),
                None => break,
            },
            () = stopping.cancelled(), if !stopped => {
                stopped = true;
                batch.stop();
            }
        }
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
        let finished = match next {
            Some(next) => next,
            // Every delivery has its verdict. The tasks are at their very end; with
            // them their spans are.
            None if !self.missing.contains(&true) => {
                while self.tasks.join_next().await.is_some() {}
                return None;
            }
            // The time is over, or a task died without a word: what is missing is
            // redelivered, once each.
            None => {
                self.tasks.abort_all();
                match self.verdicts.try_recv() {
                    Ok(next) => next,
                    Err(_) => {
                        (self.missing.iter().position(|missing| *missing)?, unfinished(), None)
                    }
                }
            }
        };
        Some(self.note(finished))
    }

    /// A further verdict, if there is one at this moment.
    pub fn ready(&mut self) -> Option<(usize, Verdict)> {
        let finished = self.verdicts.try_recv().ok()?;
        Some(self.note(finished))
    }

    fn note(&mut self, (index, verdict, seen): Finished) -> (usize, Verdict) {
        self.missing[index] = false;
        if let Some(metrics) = &mut self.metrics {
            metrics.add(seen, &verdict);
        }
        (index, verdict)
    }

    /// Ends what runs, and starts no more: the claims are released, and the
    /// deliveries are redelivered.
    pub fn stop(&mut self) {
        self.stop.cancel();
        let grace = Instant::now() + STOP_GRACE;
        self.ends_at = Some(self.ends_at.map_or(grace, |end| end.min(grace)));
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
    /// When handlers are ended.
    pub(crate) ends_at: Option<Instant>,
    /// Fires when the host gives up before that.
    pub(crate) stop: CancellationToken,
}

impl Limits {
    fn is_over(&self) -> bool {
        self.stop.is_cancelled() || self.ends_at.is_some_and(|end| end <= Instant::now())
    }
}

async fn run_lane(
    runner: &Runner,
    lane: Lane,
    limits: &Limits,
    span: &BatchSpan,
    verdicts: &mpsc::UnboundedSender<Finished>,
) {
    let mut failed = false;
    for (index, delivery) in lane {
        let seen = runner.settings.telemetry.observation();
        let verdict = if failed {
            Verdict::redeliver(Duration::ZERO, Reason::FollowsFailure)
        } else if limits.is_over() {
            unfinished()
        } else {
            // The handler has a guard of its own; this one is for our mistakes.
            AssertUnwindSafe(run_one(runner, &delivery, &seen, span, limits))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| {
                    tracing::error!("running a delivery panicked");
                    Verdict::redeliver(Duration::from_secs(1), Reason::Panicked)
                })
        };
        failed |= !verdict.is_ack();
        // Nobody listens any more once the batch was dropped.
        let _ = verdicts.send((index, verdict, seen.into_parts()));
    }
}

async fn run_one(
    runner: &Runner,
    delivery: &Delivery,
    seen: &Observation,
    span: &BatchSpan,
    limits: &Limits,
) -> Verdict {
    if runner.settings.role == Role::Callbacks {
        return callbacks::run(runner, delivery, seen).await;
    }
    if let Some(pointer) = pointers::parse(&delivery.body) {
        let mut delivery = delivery.clone();
        match pointed_to(runner, &pointer).await {
            Ok(body) => delivery.pointer = Some(std::mem::replace(&mut delivery.body, body)),
            Err(error) => return park::pointing_nowhere(runner, &delivery, seen, error).await,
        }
        return Box::pin(run_body(runner, &delivery, seen, span, limits)).await;
    }
    run_body(runner, delivery, seen, span, limits).await
}

async fn pointed_to(runner: &Runner, pointer: &Pointer) -> Result<Arc<str>, PointerError> {
    match &runner.settings.pointers {
        Some(pointers) => pointers.body(pointer).await,
        None => Err(PointerError::Refused("of this message".to_owned())),
    }
}

async fn run_body(
    runner: &Runner,
    delivery: &Delivery,
    seen: &Observation,
    span: &BatchSpan,
    limits: &Limits,
) -> Verdict {
    let opened = Job::open(runner, delivery, seen).await;
    let span = seen.opened(span, delivery, opened.as_ref().ok());
    let life = async {
        match (opened, runner.settings.role) {
            (Ok(job), Role::Jobs) => job::run(job, limits).await,
            (Ok(job), Role::DeadLetters | Role::Callbacks) => dead_letters::run(job).await,
            (Err(NoJob::Unopened(error)), _) => park::unopened(runner, delivery, seen, error).await,
            // The filter policy of its subscription is new, or missing.
            (Err(NoJob::NotAddressed), _) => {
                tracing::debug!(id = delivery.message_id, "a message is for other branches");
                Verdict::Ack
            }
            (Err(NoJob::NoBranch), _) => {
                tracing::error!(id = delivery.message_id, "QB_BRANCH does not say which branch");
                Verdict::redeliver(NO_BRANCH_BACKOFF, Reason::NoBranch)
            }
        }
    };
    let life = async {
        let verdict = life.await;
        match &verdict {
            // The line of the attempt says it.
            Verdict::Redeliver { reason: Reason::Retry | Reason::Panicked, .. } | Verdict::Ack => {}
            Verdict::Redeliver { after, reason } => {
                tracing::info!(?after, %reason, "a message is redelivered");
            }
        }
        verdict
    };
    life.instrument(span).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_deliveries_of_one_group_wait_for_each_other() {
        let delivery = |group: Option<&str>| Delivery {
            fifo_group: group.map(str::to_owned),
            ..Delivery::new("")
        };
        let groups = [Some("a"), None, Some("b"), Some("a"), None];
        let lanes = lanes(groups.map(delivery).into());
        let indexes: Vec<Vec<usize>> =
            lanes.iter().map(|lane| lane.iter().map(|(index, _)| *index).collect()).collect();
        assert_eq!(indexes, [vec![0, 3], vec![1], vec![2], vec![4]]);
    }
}

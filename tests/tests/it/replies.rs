//! Announcements: what they save, and what it costs when they are lost.

use crate::fixture::{Job, Worker, append, reading, sleep_for};
use crate::waiting::{Gateway, gateway_with, secs};
use async_trait::async_trait;
use queuebridge_gateway::replies::Replies;
use queuebridge_gateway::waiter::Waiter;
use queuebridge_local::LoopbackOutbox;
use queuebridge_proto::v1::{Announcement, Announcements, Job as Shown, State};
use queuebridge_proto::{Keyring, reply};
use queuebridge_worker::outbox::{Outbox, OutboxError, Outgoing};
use queuebridge_worker::{Delivery, RunnerSettings, Verdict};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

/// How the reply shard behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Good,
    /// Announcements arrive without the outcome.
    Short,
    /// They are lost, and nobody notices.
    Lossy,
    /// It cannot be reached.
    Broken,
}

/// A reply shard: sealed by the worker, opened by the gateway.
struct Shard {
    inner: LoopbackOutbox,
    line: Line,
    waiter: OnceLock<Waiter>,
    announced: Mutex<Vec<Announcement>>,
}

#[async_trait]
impl Outbox for Shard {
    async fn announce(&self, shard: &str, mut jobs: Vec<Announcement>) -> Result<(), OutboxError> {
        assert_eq!(shard, "shard");
        self.announced.lock().unwrap().extend_from_slice(&jobs);
        match self.line {
            Line::Good => {}
            Line::Short => jobs.iter_mut().for_each(|job| job.finished = None),
            Line::Lossy => return Ok(()),
            Line::Broken => return Err(OutboxError::Unsent("unreachable".into())),
        }
        let keys = Keyring::single(&[1; 32]);
        let body = reply::seal(&Announcements { jobs }, &keys);
        for job in reply::open(&body, &keys).unwrap().jobs {
            self.waiter.get().unwrap().announced(job);
        }
        Ok(())
    }

    async fn resend(&self, to: &str, m: Outgoing, delay: Duration) -> Result<(), OutboxError> {
        self.inner.resend(to, m, delay).await
    }

    async fn call_back(&self, message: Outgoing) -> Result<(), OutboxError> {
        self.inner.call_back(message).await
    }

    fn parks(&self) -> bool {
        true
    }

    async fn park(&self, message: Outgoing) -> Result<(), OutboxError> {
        self.inner.park(message).await
    }
}

struct Bridge {
    worker: Worker,
    gateway: Gateway,
    shard: Arc<Shard>,
}

fn bridge(line: Line, replies: Replies) -> Bridge {
    let mut made = None;
    let worker = Worker::sending(RunnerSettings::default(), |inner| {
        let (waiter, announced) = (OnceLock::new(), Mutex::default());
        let shard = Arc::new(Shard { inner, line, waiter, announced });
        made = Some(shard.clone());
        shard
    });
    let gateway = gateway_with(&worker, replies);
    let shard = made.unwrap();
    assert!(shard.waiter.set(gateway.waiter.clone()).is_ok());
    Bridge { worker, gateway, shard }
}

fn announced() -> Job {
    Job { announced: true, ..Job::default() }
}

impl Bridge {
    /// Runs a delivery while somebody waits for its job, and says how long the answer
    /// took after the handler's end.
    async fn answer(
        &self,
        id: &queuebridge_proto::JobId,
        delivery: &Delivery,
    ) -> (Shown, Duration) {
        let run = async {
            assert_eq!(self.worker.run(delivery).await, Verdict::Ack);
            Instant::now()
        };
        let wait = async {
            (self.gateway.waiter.wait(&reading(id), secs(300)).await.unwrap(), Instant::now())
        };
        let (finished, (job, answered)) = tokio::join!(run, wait);
        (job, answered.saturating_duration_since(finished))
    }
}

#[tokio::test(start_paused = true)]
async fn an_announced_outcome_is_the_answer_without_a_look_at_the_store() {
    let bridge = bridge(Line::Good, Replies::in_process());
    let (id, delivery) = bridge.worker.job("Sleep", &sleep_for(0), &announced());
    let place = bridge.gateway.waiter.subscribe(&id, queuebridge_gateway::waiter::Interest::End);
    bridge.worker.run(&delivery).await;
    let before = bridge.worker.store.calls();
    let found = queuebridge_gateway::lookup::Found::Pending;
    let job = place.finished(&reading(&id), found, secs(60)).await.unwrap();
    assert_eq!((job.state(), bridge.worker.store.calls()), (State::Succeeded, before));
    // And it is what the store says.
    assert_eq!(job, bridge.gateway.lookup.job(&reading(&id)).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_announced_end_is_answered_at_once_however_the_job_ended() {
    for line in [Line::Good, Line::Short] {
        let bridge = bridge(line, Replies::in_process());
        for method in ["Sleep", "Fail", "Panic"] {
            let job = Job { max_attempts: 1, ..announced() };
            let (id, delivery) = bridge.worker.job(method, &sleep_for(9), &job);
            let (job, late) = bridge.answer(&id, &delivery).await;
            assert!(late < Duration::from_millis(5), "{line:?} {method}: {late:?}");
            assert_eq!(
                job,
                bridge.gateway.lookup.job(&reading(&id)).await.unwrap(),
                "{line:?} {method}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_announcements_the_answer_is_late_by_a_part_of_its_time() {
    // The shard is read here, or by another gateway.
    for (line, here) in [(Line::Lossy, true), (Line::Broken, true), (Line::Lossy, false)] {
        // As long again, a quarter of that for jitter, and at most some seconds.
        for (seconds, most) in [(0, 400), (1, 1_700), (60, 7_000)] {
            let replies = if here { Replies::in_process() } else { Replies::default() };
            let bridge = bridge(line, replies);
            let (id, delivery) = bridge.worker.job("Sleep", &sleep_for(seconds), &announced());
            let (job, late) = bridge.answer(&id, &delivery).await;
            assert_eq!(job.state(), State::Succeeded);
            assert!(late <= Duration::from_millis(most), "{line:?} {seconds} s: {late:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_expected_announcement_saves_looks_at_the_store() {
    let mut looks = Vec::new();
    // One id: the jitter of the polls follows from it.
    let mut id = None;
    for replies in [Replies::in_process(), Replies::default()] {
        let bridge = bridge(Line::Good, replies);
        let id =
            *id.get_or_insert_with(|| bridge.worker.job("Append", &append("x"), &announced()).0);
        bridge.gateway.waiter.wait(&reading(&id), secs(300)).await.unwrap();
        looks.push(bridge.worker.store.calls());
    }
    assert!(looks[0] * 2 < looks[1], "{looks:?}");
}

#[tokio::test(start_paused = true)]
async fn what_only_the_store_knows_is_fetched_from_it() {
    let bridge = bridge(Line::Good, Replies::in_process());
    let step = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let request = queuebridge_demo::v1::ReportRequest { steps: 5, step };
    let (id, delivery) = bridge.worker.job("Report", &request, &announced());
    let (job, _) = bridge.answer(&id, &delivery).await;
    assert_eq!(job, bridge.gateway.lookup.job(&reading(&id)).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_job_is_announced_only_where_it_was_asked_for_and_only_when_it_is_stored() {
    let bridge = bridge(Line::Good, Replies::in_process());
    let (_, delivery) = bridge.worker.job("Append", &append("quiet"), &Job::default());
    bridge.worker.run(&delivery).await;
    assert!(bridge.shard.announced.lock().unwrap().is_empty());
    let (id, delivery) = bridge.worker.job("Append", &append("loud"), &announced());
    bridge.worker.store.every(1, queuebridge_store::testing::Fault::LoseRequest);
    assert_ne!(bridge.worker.run(&delivery).await, Verdict::Ack);
    assert!(bridge.shard.announced.lock().unwrap().is_empty());
    bridge.worker.store.every(0, queuebridge_store::testing::Fault::None);
    assert_eq!(bridge.worker.run(&delivery).await, Verdict::Ack);
    let announced = bridge.shard.announced.lock().unwrap();
    assert_eq!(announced.len(), 1);
    assert_eq!(announced[0].job, id.uuid().as_bytes()[..]);
}

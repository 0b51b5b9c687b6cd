//! Streams in simulated time, with everything failing: stores, queue and announcements,
//! handlers and workers, callers that are slow and callers that go away. What reaches a
//! caller is one attempt's, in order and once, and nothing is left behind.

mod story;

use super::bridge::{Bridge, LEASE, Plan as Setting};
use super::world::reason;
use crate::chaos::Random;
use bytes::{Buf, Bytes};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use queuebridge_gateway::config::{CallConfig, Mode};
use queuebridge_store::testing::Fault;
use queuebridge_worker::RunnerSettings;
use std::sync::Arc;
use std::time::Duration;
use story::{Plan, Stage};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Request, Status, Streaming};

const CALLS: u64 = 40;
/// The expiry of a job whose caller has no deadline.
const EXPIRY: Duration = Duration::from_secs(600);
/// Within this time a caller that is gone is known to be, also where workers are lost.
const SOON: Duration = Duration::from_secs(40);
/// What a handler may be ahead: the window, a chunk on its way and one being filled, what
/// the gateway has in hand, and the largest message in each of these places.
const AHEAD: usize = (1 << 20) + 4 * (64 + 70) * 1024;

/// What one caller has seen.
#[derive(Debug)]
struct Told {
    tags: Vec<u32>,
    end: Result<(), Status>,
    first_at: Option<Instant>,
    left: bool,
}

struct Run {
    seed: u64,
    bridge: Bridge,
    stage: Arc<Stage>,
    deterministic: bool,
}

impl Run {
    fn new(seed: u64) -> Self {
        let deterministic = seed % 4 == 1;
        let stage = Arc::new(Stage { deterministic, ..Stage::default() });
        let calls = CallConfig {
            modes: vec![Mode::Sync, Mode::Auto],
            budget: Duration::from_secs(300),
            deterministic,
            ..CallConfig::default()
        };
        let settings =
            RunnerSettings { lease: LEASE, record_bytes: 40_000, ..RunnerSettings::default() };
        let setting = Setting { calls, settings, seed: Some(seed), ..Setting::default() };
        let bridge = Bridge::new(stage.script(), setting);
        Self { seed, bridge, stage, deterministic }
    }

    async fn call(&self, plan: &Plan) -> Told {
        let requests = stream::iter(plan.requests()).then(|(pause, message)| async move {
            sleep(pause).await;
            message
        });
        let broken = plan.breaks_off;
        let hangs = stream::pending().take(usize::from(broken));
        let mut request = Request::new(requests.chain(hangs));
        let metadata = request.metadata_mut();
        metadata.insert("qb-mode", if plan.auto { "auto" } else { "sync" }.parse().unwrap());
        if plan.twin {
            metadata.insert("qb-request-id", format!("call-{}", plan.number).parse().unwrap());
        }
        if let Some(deadline) = plan.deadline {
            request.set_timeout(deadline);
        }
        let mut told = Told { tags: Vec::new(), end: Ok(()), first_at: None, left: false };
        let sent = self.bridge.call(request);
        // Whoever breaks off does so long after its last message.
        let patience = if broken { Duration::from_secs(20) } else { EXPIRY * 2 };
        let answered = timeout(patience, sent).await;
        match answered {
            Err(_) => {
                assert!(broken, "seed {}: {plan:?} was never answered", self.seed);
                told.left = true;
            }
            Ok(Err(status)) => told.end = Err(status),
            Ok(Ok(answer)) => self.read(plan, answer.into_inner(), &mut told).await,
        }
        told
    }

    async fn read(&self, plan: &Plan, mut answers: Streaming<Bytes>, told: &mut Told) {
        let seed = self.seed;
        let mut bytes = 0;
        loop {
            if plan.leaves_after.is_some_and(|after| told.tags.len() >= after) {
                told.left = true;
                return;
            }
            let mut message = match answers.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return,
                Err(status) => {
                    told.end = Err(status);
                    return;
                }
            };
            bytes += message.len();
            told.first_at.get_or_insert_with(Instant::now);
            let (index, tag) = (message.get_u32() as usize, message.get_u32());
            assert_eq!(index, told.tags.len(), "seed {seed}: not in order and once: {plan:?}");
            told.tags.push(tag);
            assert_eq!(told.tags[0], tag, "seed {seed}: two attempts are spliced: {plan:?}");
            sleep(plan.reads).await;
            // Only one handler makes messages of a tag, unless they are all the same.
            if !plan.twin && !self.deterministic {
                let made = self.stage.seen(plan.number).made.get(&tag).map_or(0, |made| made.1);
                let ahead = made.saturating_sub(bytes);
                assert!(ahead < AHEAD, "seed {seed}: {ahead} bytes ahead of the caller: {plan:?}");
            }
        }
    }

    /// One call, or two of one id, and what they must have seen.
    async fn tell(&self, plan: Plan) -> bool {
        let seed = self.seed;
        self.stage.plans.lock().unwrap().insert(plan.number, plan.clone());
        let begun = Instant::now();
        let both = join_all((0..1 + u64::from(plan.twin)).map(|_| self.call(&plan))).await;
        for told in &both {
            let seen = self.stage.seen(plan.number);
            if let Some(deadline) = plan.deadline
                && plan.reads.is_zero()
                && !told.left
            {
                assert!(begun.elapsed() <= deadline, "seed {seed}: beyond its deadline: {plan:?}");
            }
            let whole = told.tags.len() == plan.answers.len();
            match &told.end {
                Ok(()) if told.left => {}
                Ok(()) => {
                    assert!(whole, "seed {seed}: {} messages of {plan:?}", told.tags.len());
                    assert!(!plan.breaks_off, "seed {seed}: an answer to {plan:?}");
                    let (first, ended) = (told.first_at, seen.ended);
                    if let (Some(first), Some(began), Some(ended)) = (first, seen.began, ended)
                        && ended - began > Duration::from_secs(40)
                        && plan.fates.is_empty()
                        && seen.runs == 1
                    {
                        assert!(first < ended, "seed {seed}: held back to its end: {plan:?}");
                    }
                }
                Err(status) => self.judge(&plan, told, status),
            }
        }
        if let [one, other] = &both[..]
            && one.end.is_ok()
            && other.end.is_ok()
        {
            assert_eq!(one.tags, other.tags, "seed {seed}: two jobs of one id: {plan:?}");
        }
        if both[0].left && !plan.auto {
            sleep(SOON).await;
            let running = self.stage.seen(plan.number).running;
            assert_eq!(running, 0, "seed {seed}: the caller is gone and it runs: {plan:?}");
        }
        both.iter().any(|told| told.end.is_ok() && !told.left)
    }

    fn judge(&self, plan: &Plan, told: &Told, status: &Status) {
        let (seed, why) = (self.seed, reason(status));
        let seen = self.stage.seen(plan.number);
        match (status.code(), why.as_str()) {
            (Code::Aborted, "STREAM_RETRIED") => {
                assert!(!told.tags.is_empty(), "seed {seed}: nothing was handed on: {plan:?}");
                assert!(!self.deterministic, "seed {seed}: {plan:?} goes on");
            }
            (Code::DeadlineExceeded, "STILL_RUNNING") => {
                assert!(plan.auto && !plan.breaks_off, "seed {seed}: a ticket for {plan:?}");
            }
            (Code::DeadlineExceeded, _) => {
                assert!(plan.deadline.is_some() || plan.auto || plan.breaks_off, "{plan:?}");
            }
            // Of stores and queue that do not answer, and of the handler, which is not
            // tried again where the caller decides.
            (Code::Unavailable, _) => {}
            (Code::Internal, "HANDLER_PANICKED") => {}
            (Code::Cancelled, _) => {
                assert!(plan.breaks_off || plan.twin, "seed {seed}: cancelled: {plan:?}");
            }
            other => panic!("seed {seed}: {other:?} {status:?} after {seen:?}: {plan:?}"),
        }
    }

    async fn story(&self) -> usize {
        let random = Random::new(self.seed.wrapping_mul(31).wrapping_add(7));
        let mut calls = Vec::new();
        for number in 0..CALLS {
            let (plan, after) = (Plan::new(number, &random), random.below(30_000));
            calls.push(async move {
                sleep(Duration::from_millis(after)).await;
                self.tell(plan).await
            });
        }
        let good = join_all(calls).await.into_iter().filter(|good| *good).count();
        // What was abandoned is over soon, and everything else at its expiry.
        sleep(EXPIRY + LEASE * 20).await;
        good
    }
}

async fn run(seed: u64) {
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let run = Run::new(seed);
    let fault = if seed.is_multiple_of(2) { Fault::LoseResponse } else { Fault::LoseRequest };
    run.bridge.store.every(6, fault);
    run.bridge.payloads.every(5, fault);
    let good = tokio::select! {
        good = run.story() => good,
        () = run.bridge.mortal_workers() => unreachable!(),
    };
    assert!(good > 8, "seed {seed}: only {good} calls were answered");
    let wrong = run.stage.wrong.lock().unwrap().clone();
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
    for number in 0..CALLS {
        let running = run.stage.seen(number).running;
        assert_eq!(running, 0, "seed {seed}: a handler of call {number} runs for nobody");
    }
    assert_eq!(run.bridge.waiter.job_count(), 0, "seed {seed}: somebody waits for nothing");
    let left = run.bridge.queue.counts();
    assert_eq!((left.visible, left.in_flight, left.delayed), (0, 0, 0), "seed {seed}");
    let alive = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(alive <= tasks + 1, "seed {seed}: {} tasks are left", alive - tasks);
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "a seed to repeat is named from outside")]
async fn a_stream_arrives_as_one_attempt_gave_it_whatever_fails() {
    // QB_TEST_SEED names one run to repeat; otherwise a fixed few.
    let named = std::env::var("QB_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in named.map_or(0..8, |seed: u64| seed..seed + 1) {
        run(seed).await;
    }
}

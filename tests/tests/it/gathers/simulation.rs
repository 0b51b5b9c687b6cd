//! Gathers in simulated time, with everything failing: every verdict is written once, is
//! the right one, is told, and lists every branch.

use super::scripted::Act;
use super::world::{Plan, Way, World, webhook};
use super::*;
use crate::chaos::{Random, Unreliable, UnreliableOutbox};
use queuebridge_gateway::config::{Guarantee, RouteConfig};
use queuebridge_local::LoopbackSource;
use queuebridge_proto::gather::{Decision, Standing, code, decide, is_success};
use queuebridge_proto::time::{CLOCK_SKEW, duration_to_proto};
use queuebridge_proto::v1::gather_rule::Answer;
use queuebridge_proto::{JobId, UnixMillis};
use queuebridge_store::gather::branch_ids;
use queuebridge_store::testing::Fault;
use queuebridge_store::{GatherStore, Record, ResultStore};
use queuebridge_worker::Runner;
use queuebridge_worker::host::poller::{self, PollerSettings};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{advance, sleep, timeout};
use tonic::Status;

const GATHERS: u64 = 12;
const EXPIRY: Duration = Duration::from_secs(1800);
/// A retention that is over before many a step is repeated.
const SHORT: Duration = Duration::from_secs(3);

/// A gather of the story, and what was done to it.
struct Case {
    id: String,
    request: SubmitRequest,
    names: Vec<String>,
    cancelled: bool,
    /// It was deleted, or its retention is short.
    gone: bool,
}

impl Case {
    fn rule(&self) -> &GatherRule {
        self.request.gather.as_ref().unwrap()
    }
}

fn rule(random: &Random, names: &[String], deadline: Option<u64>, claimed: bool) -> GatherRule {
    let any = |random: &Random| names[pick(random, names.len())].clone();
    GatherRule {
        need: u32::try_from(pick(random, names.len() + 1)).unwrap(),
        deadline: deadline.map(|seconds| duration_to_proto(secs(seconds))),
        partial: random.below(3) == 0,
        success_codes: if random.below(3) == 0 { vec![0, 5] } else { vec![] },
        cancel_rest: claimed && random.below(3) == 0,
        answer: match random.below(4) {
            0 => Some(Answer::Primary(any(random))),
            1 => Some(Answer::Merge(true)),
            _ => None,
        },
        ..GatherRule::default()
    }
}

fn pick(random: &Random, of: usize) -> usize {
    usize::try_from(random.below(of as u64)).unwrap()
}

fn request(random: &Random, number: u64, all: &[&str], claimed: bool) -> SubmitRequest {
    let names = all.iter().filter(|_| random.below(4) > 0).map(|name| (*name).to_owned());
    let mut names: Vec<String> = names.collect();
    if names.is_empty() {
        names = all.iter().map(|name| (*name).to_owned()).collect();
    }
    let deadline = (random.below(3) > 0).then(|| 1 + random.below(900));
    let delay = if random.below(3) == 0 { random.below(deadline.unwrap_or(300)) } else { 0 };
    let retention = if random.below(4) == 0 { SHORT } else { secs(86_400) };
    SubmitRequest {
        gather: Some(rule(random, &names, deadline, claimed)),
        branches: names,
        delay: Some(duration_to_proto(secs(delay))),
        result_retention: Some(duration_to_proto(retention)),
        callback: webhook(),
        request: number.to_be_bytes().to_vec().into(),
        request_id: format!("r{number}"),
        ..plain()
    }
}

fn act(random: &Random) -> Act {
    match random.below(6) {
        0 => Act::Fail(Status::not_found("nothing")),
        1 => Act::Fail(Status::internal("no")),
        2 => Act::Fail(Status::unavailable("again")),
        3 => Act::After(secs(random.below(1200)), vec![1]),
        _ => Act::Answer(vec![1]),
    }
}

/// Workers come, and are killed in the middle of what they do.
async fn workers(
    random: &Random,
    runner: &Arc<Runner>,
    queue: &Arc<queuebridge_local::loopback::Loopback>,
) {
    loop {
        let settings = PollerSettings { concurrency: 8, drain_timeout: secs(10_000) };
        let source = LoopbackSource(queue.clone());
        let worker = poller::run(runner.clone(), source, settings, std::future::pending());
        let _ = timeout(Duration::from_millis(500 + random.below(90_000)), worker).await;
    }
}

/// As a client with patience: until there is another answer than that nobody can know.
async fn patiently<T>(mut call: impl AsyncFnMut() -> Result<T, Status>) -> Option<T> {
    for _ in 0..30 {
        match call().await {
            Ok(answer) => return Some(answer),
            Err(status) if status.code() == Code::NotFound => return None,
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
        sleep(secs(1)).await;
    }
    None
}

/// What the rule says of the records as they are in the end.
fn expected(case: &Case, records: &[Option<Record>], deadline: UnixMillis) -> State {
    let (rule, total) = (case.rule(), u32::try_from(records.len()).unwrap());
    let mut standing = Standing { total, ..Standing::default() };
    for (name, record) in case.names.iter().zip(records) {
        let in_time = |record: &&Record| record.completed_at.is_some_and(|at| at < deadline);
        let Some(record) = record.as_ref().filter(in_time) else { continue };
        let success = is_success(rule, record.state, code(record.state, record.outcome.as_ref()));
        standing.succeeded += u32::from(success);
        standing.failed += u32::from(!success);
        if rule.answer == Some(Answer::Primary(name.clone())) {
            standing.primary = Some(success && record.state == State::Succeeded);
        }
    }
    match decide(rule, &standing, true) {
        Some(Decision::Met) => State::Succeeded,
        Some(Decision::Failed) => State::Failed,
        None => State::Expired,
    }
}

/// Whoever is told that it is cancelled can rely on it that nothing starts any more.
async fn cancel(world: &World, case: &mut Case) {
    let cancelled = patiently(async || world.cancel(&case.id).await).await;
    if cancelled.is_none_or(|job| job.state() != State::Cancelled) {
        return;
    }
    case.cancelled = true;
    for (branch, record) in case.names.iter().zip(records(world, &case.id).await) {
        let record = record.expect("a cancelled branch has a record");
        if record.state == State::Cancelled && record.attempt == 0 {
            assert!(!world.script.was_called(branch, &case.request.request));
        }
    }
}

/// What is stored of the branches, whatever the faults.
async fn records(world: &World, id: &str) -> Vec<Option<Record>> {
    let (id, now) = (JobId::parse_trusted(id).unwrap(), world.clock.now());
    loop {
        let Ok(Some(plan)) = world.store.plan(&id, now).await else { continue };
        let mut records = Vec::new();
        for branch in branch_ids(&id, &plan) {
            records.push(loop {
                if let Ok(record) = world.store.get(&branch, now).await {
                    break record;
                }
            });
        }
        return records;
    }
}

async fn run(seed: u64) {
    let random = Random::new(seed.wrapping_mul(7919).wrapping_add(17));
    let count = 1 + random.below(6);
    let names: Vec<String> = (0..count).map(|n| format!("b{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let way = if random.below(2) == 0 { Way::Topic } else { Way::Queues };
    let mut plan = Plan::new(way, &names, need(0));
    let claimed = !seed.is_multiple_of(4);
    plan.route = if claimed { claimed_route } else { unclaimed_route };
    plan.between = Box::new(move |index, queue| {
        let random = Random::new(seed.wrapping_add(index as u64).wrapping_mul(101));
        Arc::new(Unreliable { queue, random })
    });
    plan.outbox = Box::new(move |inner| {
        Arc::new(UnreliableOutbox { inner, random: Random::new(seed.wrapping_mul(103)) })
    });
    let world = plan.build();
    let fault = if seed.is_multiple_of(2) { Fault::LoseResponse } else { Fault::LoseRequest };
    world.store.every(5, fault);
    for name in &names {
        world.script.set(name, act(&random));
    }
    // Nobody works for some branches.
    let worked: Vec<bool> = names.iter().map(|_| random.below(8) > 0).collect();
    let lives = Random::new(seed);
    let working = futures_util::future::join_all(world.stations.iter().zip(worked).map(
        |(station, worked)| {
            let lives = &lives;
            async move {
                let buried = workers(lives, &station.undertaker, &station.dead);
                if worked {
                    tokio::join!(workers(lives, &station.runner, &station.queue), buried);
                } else {
                    buried.await;
                }
            }
        },
    ));
    let told = RefCell::new(HashSet::new());
    let telling = async {
        loop {
            let (ids, _) = world.tell().await;
            told.borrow_mut().extend(ids);
            sleep(secs(1)).await;
        }
    };
    let story = async {
        let mut cases: Vec<Case> = Vec::new();
        let mut seen: HashMap<String, State> = HashMap::new();
        for number in 0..GATHERS {
            let request = request(&random, number, &names, claimed);
            if let Some(job) = patiently(async || world.submit(request.clone()).await).await {
                let gone = request.result_retention == Some(duration_to_proto(SHORT));
                let names = request.branches.clone();
                cases.push(Case { id: job.id, request, names, cancelled: false, gone });
            }
            sleep(Duration::from_millis(random.below(60_000))).await;
            for case in &mut cases {
                if let Ok(job) = world.get(&case.id).await
                    && job.outcome.is_some()
                {
                    let first = *seen.entry(case.id.clone()).or_insert(job.state());
                    assert_eq!(first, job.state(), "a verdict has changed");
                    if random.below(6) == 0 {
                        patiently(async || world.delete(&case.id).await).await;
                        case.gone = true;
                    }
                } else if claimed && random.below(12) == 0 {
                    cancel(&world, case).await;
                }
            }
        }
        sleep(EXPIRY + secs(60)).await;
        (cases, seen)
    };
    let (cases, seen) = tokio::select! {
        told = story => told,
        _ = working => unreachable!(),
        () = telling => unreachable!(),
    };
    world.store.every(0, Fault::None);
    advance(EXPIRY + CLOCK_SKEW).await;
    let mut told = told.into_inner();
    told.extend(world.tell_all().await);
    for case in cases {
        let Case { id, names, .. } = &case;
        assert!(told.contains(id), "seed {seed}: nobody is told of {id}");
        let records = records(&world, id).await;
        for (name, record) in names.iter().zip(&records) {
            let never = |of: &&Record| of.state == State::Cancelled && of.attempt == 0;
            if record.as_ref().is_some_and(|record| never(&record)) {
                assert!(!world.script.was_called(name, &case.request.request), "seed {seed}");
            }
        }
        if case.gone {
            continue;
        }
        let job = world.get(id).await.unwrap();
        let parsed = JobId::parse_trusted(id).unwrap();
        let expected = match case.cancelled {
            true => State::Cancelled,
            false => expected(&case, &records, parsed.expires_at()),
        };
        let (rule, shown) = (case.rule(), states(&job));
        assert_eq!(job.state(), expected, "seed {seed}: {rule:?} {shown:?}");
        assert!(seen.get(id).is_none_or(|seen| *seen == job.state()));
        let listed: Vec<&str> = branches(&job).iter().map(|branch| branch.name.as_str()).collect();
        assert_eq!(&listed, names, "seed {seed}: a branch is missing");
    }
}

fn claimed_route(route: &mut RouteConfig) {
    route.default_expiry = EXPIRY;
    route.default_retention = secs(86_400);
    route.max_attempts = 3;
}

fn unclaimed_route(route: &mut RouteConfig) {
    claimed_route(route);
    route.guarantee = Guarantee::AtLeastOnce;
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "a seed to repeat is named from outside")]
async fn every_gather_ends_once_and_rightly_whatever_fails() {
    let named = std::env::var("QB_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in named.map_or(0..12, |seed: u64| seed..seed + 1) {
        run(seed).await;
    }
}

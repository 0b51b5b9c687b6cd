//! Gathers in simulated time, with everything failing: every verdict is written once, is
//! the right one, is told, and lists every branch.

use super::scripted::Act;
use super::world::{Plan, Way, World, webhook};
use super::*;
use crate::chaos::{Random, Unreliable, UnreliableOutbox};
use queuebridge_local::LoopbackSource;
use queuebridge_proto::gather::{Decision, Standing, code, decide, is_success};
use queuebridge_proto::time::{CLOCK_SKEW, duration_to_proto};
use queuebridge_proto::{JobId, UnixMillis};
use queuebridge_store::gather::branch_ids;
use queuebridge_store::testing::Fault;
use queuebridge_store::{GatherStore, Record, ResultStore};
use queuebridge_worker::Runner;
use queuebridge_worker::host::poller::{self, PollerSettings};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{advance, sleep, timeout};
use tonic::Status;

const GATHERS: u64 = 12;
const EXPIRY: Duration = Duration::from_secs(1800);

fn rule(random: &Random, branches: u64) -> GatherRule {
    let deadline = match random.below(3) {
        0 => None,
        _ => Some(duration_to_proto(secs(1 + random.below(900)))),
    };
    GatherRule {
        need: u32::try_from(random.below(branches + 1)).unwrap(),
        deadline,
        partial: random.below(3) == 0,
        success_codes: if random.below(3) == 0 { vec![0, 5] } else { vec![] },
        cancel_rest: random.below(3) == 0,
        ..GatherRule::default()
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

/// As a client with patience: the same request id until it is accepted.
async fn submit(world: &World, number: u64, request: SubmitRequest) -> Option<String> {
    let request = SubmitRequest { request_id: format!("r{number}"), ..request };
    for _ in 0..30 {
        match world.submit(request.clone()).await {
            Ok(job) => return Some(job.id),
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
        sleep(secs(1)).await;
    }
    None
}

/// What the rule says of the records as they are in the end.
fn expected(rule: &GatherRule, records: &[Option<Record>], deadline: UnixMillis) -> State {
    let mut standing =
        Standing { total: u32::try_from(records.len()).unwrap(), ..Standing::default() };
    for record in records.iter().flatten() {
        if !record.is_terminal() || record.completed_at.unwrap() >= deadline {
            continue;
        }
        if is_success(rule, record.state, code(record.state, record.outcome.as_ref())) {
            standing.succeeded += 1;
        } else {
            standing.failed += 1;
        }
    }
    match decide(rule, &standing, true) {
        Some(Decision::Met) => State::Succeeded,
        Some(Decision::Failed) => State::Failed,
        None => State::Expired,
    }
}

async fn run(seed: u64) {
    let random = Random::new(seed.wrapping_mul(7919).wrapping_add(17));
    let count = 1 + random.below(6);
    let names: Vec<String> = (0..count).map(|n| format!("b{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let way = if random.below(2) == 0 { Way::Topic } else { Way::Queues };
    let mut plan = Plan::new(way, &names, need(0));
    plan.route = |route| {
        route.default_expiry = EXPIRY;
        route.default_retention = secs(86_400);
        route.max_attempts = 3;
    };
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
    let story = async {
        let mut gathers: Vec<(String, GatherRule)> = Vec::new();
        let mut seen: HashMap<String, State> = HashMap::new();
        for number in 0..GATHERS {
            let rule = rule(&random, count);
            let request =
                SubmitRequest { gather: Some(rule.clone()), callback: webhook(), ..plain() };
            if let Some(id) = submit(&world, number, request).await {
                gathers.push((id, rule));
            }
            sleep(Duration::from_millis(random.below(60_000))).await;
            for (id, _) in &gathers {
                if let Ok(job) = world.get(id).await
                    && job.outcome.is_some()
                {
                    let first = *seen.entry(id.clone()).or_insert(job.state());
                    assert_eq!(first, job.state(), "a verdict has changed");
                }
            }
        }
        sleep(EXPIRY + secs(60)).await;
        (gathers, seen)
    };
    let (gathers, seen) = tokio::select! {
        told = story => told,
        _ = working => unreachable!(),
    };
    world.store.every(0, Fault::None);
    advance(EXPIRY + CLOCK_SKEW).await;
    let (_, told) = world.callbacks().await;
    let told: HashSet<String> = told.into_iter().collect();
    for (id, rule) in gathers {
        let job = world.get(&id).await.unwrap();
        let parsed = JobId::parse_trusted(&id).unwrap();
        let now = world.clock.now();
        let plan = world.store.plan(&parsed, now).await.unwrap().unwrap();
        let mut records = Vec::new();
        for branch in branch_ids(&parsed, &plan) {
            records.push(world.store.get(&branch, now).await.unwrap());
        }
        let expected = expected(&rule, &records, parsed.expires_at());
        assert_eq!(job.state(), expected, "seed {seed}: {rule:?} {:?}", states(&job));
        assert!(seen.get(&id).is_none_or(|seen| *seen == job.state()));
        let listed: Vec<&str> = branches(&job).iter().map(|branch| branch.name.as_str()).collect();
        assert_eq!(listed, names, "seed {seed}: a branch is missing");
        let record = world.store.get(&parsed, now).await.unwrap().unwrap();
        let report = record.outcome.unwrap().gather.unwrap();
        assert_eq!(report.branches.len(), names.len());
        // What a branch has decided is enqueued; the rest is the timer's.
        if report.decided_by > 0 {
            assert!(told.contains(&id), "seed {seed}: nobody is told of {id}");
        }
    }
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "a seed to repeat is named from outside")]
async fn every_gather_ends_once_and_rightly_whatever_fails() {
    let named = std::env::var("QB_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in named.map_or(0..12, |seed: u64| seed..seed + 1) {
        run(seed).await;
    }
}

//! Gathers that are cancelled or deleted, with everything around them failing.

use super::scripted::Act;
use super::telling::Deaf;
use super::world::{Plan, Way, World, webhook};
use super::*;
use queuebridge_proto::error::reason;
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::ListBranchesRequest;
use queuebridge_proto::v1::gather_rule::Answer;
use queuebridge_proto::v1::jobs_server::Jobs;
use queuebridge_proto::{JobId, error};
use queuebridge_store::testing::Fault;
use queuebridge_store::{PayloadStore, payload};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::advance;
use tonic::Status;

fn deaf(rule: GatherRule) -> (World, Arc<AtomicBool>) {
    let deaf = Arc::new(AtomicBool::new(true));
    let shared = deaf.clone();
    let mut plan = Plan::new(Way::Queues, &THREE, rule);
    plan.outbox = Box::new(move |inner| Arc::new(Deaf { inner, deaf: shared.clone() }));
    (plan.build(), deaf)
}

fn told_request() -> SubmitRequest {
    SubmitRequest { callback: webhook(), ..plain() }
}

#[tokio::test(start_paused = true)]
async fn a_verdict_that_was_not_told_is_told_also_when_it_is_deleted_by_then() {
    for deleted in [true, false] {
        let (world, deaf) = deaf(need(2));
        let result_retention = Some(prost_types::Duration { seconds: 1, nanos: 0 });
        let job = world.submit(SubmitRequest { result_retention, ..told_request() }).await.unwrap();
        world.work("a").await;
        assert!(!world.work("b").await[0].is_ack(), "nobody was told");
        if deleted {
            world.delete(&job.id).await.unwrap();
        }
        // Its retention is over by then in any case.
        advance(secs(200)).await;
        assert_eq!(world.get(&job.id).await.unwrap_err().code(), Code::NotFound);
        deaf.store(false, Ordering::Relaxed);
        assert!(world.work("b").await[0].is_ack());
        assert_eq!(world.tell_all().await, [job.id], "deleted: {deleted}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_ended_long_after_the_verdict_does_not_tell_it() {
    let world = Plan::new(Way::Queues, &THREE, need(1)).build();
    let job = world.submit(told_request()).await.unwrap();
    world.work("a").await;
    assert_eq!(world.tell_all().await, std::slice::from_ref(&job.id));
    advance(secs(5)).await;
    world.delete(&job.id).await.unwrap();
    for name in ["b", "c"] {
        world.work(name).await;
    }
    assert!(world.tell_all().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_timer_tells_of_a_gather_that_nobody_can_say_any_more_who_ended() {
    let deadline = Some(prost_types::Duration { seconds: 60, nanos: 0 });
    let world = Plan::new(Way::Topic, &THREE, GatherRule { deadline, ..need(0) }).build();
    let job = world.submit(told_request()).await.unwrap();
    world.cancel(&job.id).await.unwrap();
    // As if the gateway had died before it could tell.
    assert_eq!(world.callbacks().await, (1, vec![job.id.clone()]));
    world.delete(&job.id).await.unwrap();
    advance(secs(60) + CLOCK_SKEW).await;
    assert_eq!(world.tell_all().await, [job.id]);
}

/// Whatever is lost on the way: once Cancel is acknowledged, nothing starts.
#[tokio::test(start_paused = true)]
async fn a_cancellation_that_failed_halfway_is_carried_out_before_it_is_acknowledged() {
    for (way, fault) in [(Way::Topic, Fault::LoseRequest), (Way::Queues, Fault::LoseResponse)] {
        for call in 0..14 {
            let world = Plan::new(way, &THREE, need(0)).build();
            let job = world.submit(told_request()).await.unwrap();
            world.store.script(vec![Fault::None; call]);
            world.store.script([fault]);
            let mut tries = 0;
            while let Err(status) = world.cancel(&job.id).await {
                assert_eq!(status.code(), Code::Unavailable);
                tries += 1;
                assert!(tries < 3);
            }
            for name in THREE {
                world.work(name).await;
            }
            assert!(world.script.methods().is_empty(), "{fault:?} of call {call}");
            assert_eq!(world.get(&job.id).await.unwrap().state(), State::Cancelled);
            assert!(world.tell_all().await.contains(&job.id));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_failed_halfway_can_be_repeated_until_nothing_is_left() {
    for call in 0..8 {
        let world = Plan::new(Way::Queues, &THREE, need(2)).build();
        let job = world.submit(plain()).await.unwrap();
        world.work("a").await;
        world.work("b").await;
        world.store.script(vec![Fault::None; call]);
        world.store.script([Fault::LoseResponse]);
        while let Err(status) = world.delete(&job.id).await {
            assert_eq!(status.code(), Code::Unavailable);
        }
        world.work("c").await;
        assert_eq!(world.script.calls_of("c"), 0, "fault of call {call}");
        for branch in &branches(&job)[..2] {
            let id = &branch.job.as_ref().unwrap().id;
            assert_eq!(world.get(id).await.unwrap_err().code(), Code::NotFound);
        }
    }
}

fn large() -> SubmitRequest {
    let request: Vec<u8> = (0..70_000).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).collect();
    SubmitRequest { request: request.into(), ..plain() }
}

/// Whether the request is still in the payload store.
async fn is_kept(world: &World, job: &Job, request: &SubmitRequest) -> bool {
    let id = JobId::parse_trusted(&job.id).unwrap();
    let sha256: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(&request.request).into();
    let stored = queuebridge_proto::v1::PayloadRef {
        key: payload::request_key("t", &id, &sha256),
        size: request.request.len() as u64,
        sha256: bytes::Bytes::copy_from_slice(&sha256),
        encrypted: false,
    };
    world.payloads.get(&stored).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn the_request_stays_for_as_long_as_a_branch_may_be_replayed() {
    for parked in [false, true] {
        let mut plan = Plan::new(Way::Topic, &THREE, need(2));
        plan.route = |route| route.max_attempts = 1;
        let world = plan.build();
        if parked {
            world.script.set("b", Act::Fail(Status::unavailable("not today")));
        }
        let request = large();
        let job = world.submit(request.clone()).await.unwrap();
        for name in THREE {
            world.work(name).await;
        }
        assert_eq!(world.get(&job.id).await.unwrap().state(), State::Succeeded);
        assert!(is_kept(&world, &job, &request).await);
        world.delete(&job.id).await.unwrap();
        assert_eq!(is_kept(&world, &job, &request).await, parked);
        assert_eq!(world.parking.counts().visible, usize::from(parked));
    }
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_is_deleted_before_the_verdict_is_missing_and_not_forgotten() {
    let rule = GatherRule { answer: Some(Answer::Primary("a".into())), ..need(2) };
    let world = Plan::new(Way::Queues, &THREE, rule).build();
    let job = world.submit(plain()).await.unwrap();
    world.work("a").await;
    world.delete(&branches(&job)[0].job.as_ref().unwrap().id).await.unwrap();
    let request = ListBranchesRequest { id: job.id.clone(), ..ListBranchesRequest::default() };
    let page = world.service.list_branches(world.asking(request)).await.unwrap().into_inner();
    assert_eq!(page.branches[0].job.as_ref().unwrap().state(), State::Succeeded);
    world.work("b").await;
    let done = world.get(&job.id).await.unwrap();
    assert_eq!(done.state(), State::Failed);
    assert_eq!(refusal(&done), (Code::NotFound, reason::RESULT_PURGED.into()));
}

/// The stores' errors are the callers' to retry, and say when.
#[tokio::test(start_paused = true)]
async fn a_cancellation_says_that_it_may_be_repeated() {
    let world = Plan::new(Way::Queues, &THREE, need(0)).build();
    let job = world.submit(plain()).await.unwrap();
    world.store.script([Fault::LoseRequest]);
    let status = world.cancel(&job.id).await.unwrap_err();
    assert!(status.metadata().contains_key(error::RETRY_PUSHBACK));
}

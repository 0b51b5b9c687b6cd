//! Losing a branch is visible.

use super::scripted::Act;
use super::world::{Plan, Way, delivery, webhook};
use super::*;
use async_trait::async_trait;
use queuebridge_gateway::publish::{Limits, Message, PublishError, Publisher};
use queuebridge_proto::envelope;
use queuebridge_proto::error::reason;
use queuebridge_store::testing::Fault;
use queuebridge_worker::{Branch, Reason, Runner, RunnerSettings, Verdict, batch};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// A queue that answers with an error while it is ill, after taking the message or not.
struct Ill {
    queue: Arc<dyn Publisher>,
    error: PublishError,
    takes: bool,
    ill: Arc<AtomicBool>,
}

#[async_trait]
impl Publisher for Ill {
    fn limits(&self) -> Limits {
        self.queue.limits()
    }

    async fn publish(&self, batch: &[Message]) -> Vec<Result<(), PublishError>> {
        let ill = self.ill.load(Ordering::Relaxed);
        if !ill || self.takes {
            self.queue.publish(batch).await;
        }
        let answer = if ill { Err(self.error.clone()) } else { Ok(()) };
        vec![answer; batch.len()]
    }
}

pub(crate) fn ill(
    which: &'static [usize],
    error: PublishError,
    takes: bool,
) -> (Plan, Arc<AtomicBool>) {
    let flag = Arc::new(AtomicBool::new(true));
    let shared = flag.clone();
    let mut plan = Plan::new(Way::Queues, &THREE, need(2));
    plan.between = Box::new(move |index, queue| {
        if !which.contains(&index) {
            return queue;
        }
        Arc::new(Ill { queue, error: error.clone(), takes, ill: shared.clone() })
    });
    (plan, flag)
}

fn branch_refusal(job: &Job, index: usize) -> (Code, String) {
    refusal(branches(job)[index].job.as_ref().unwrap())
}

pub(crate) fn told(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().unwrap().reason)
}

#[tokio::test(start_paused = true)]
async fn a_branch_whose_queue_takes_no_message_so_large_has_failed() {
    let large = PublishError::TooLarge("shorter".into());
    let world = ill(&[1], large, false).0.build();
    let job = world.submit(plain()).await.unwrap();
    let shown = world.get(&job.id).await.unwrap();
    let failed = (Code::Internal, reason::PUBLISH_FAILED.to_owned());
    assert_eq!((shown.outcome.clone(), branch_refusal(&shown, 1)), (None, failed));
}

#[tokio::test(start_paused = true)]
async fn a_branch_whose_queue_is_gone_has_failed_and_the_others_go_on() {
    let gone = PublishError::Refused("QueueDoesNotExist".into());
    let world = ill(&[1], gone, false).0.build();
    let job = world.submit(plain()).await.unwrap();
    let shown = world.get(&job.id).await.unwrap();
    let failed = (Code::Internal, reason::PUBLISH_FAILED.to_owned());
    assert_eq!((shown.outcome.clone(), branch_refusal(&shown, 1)), (None, failed));
    world.work("a").await;
    world.work("c").await;
    assert_eq!(world.get(&job.id).await.unwrap().state(), State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_gather_that_cannot_be_sent_to_enough_branches_has_failed_and_is_told() {
    let gone = PublishError::Refused("QueueDoesNotExist".into());
    let world = ill(&[1, 2], gone, false).0.build();
    let request = SubmitRequest { callback: webhook(), ..plain() };
    let job = world.submit(request).await.unwrap();
    let done = world.get(&job.id).await.unwrap();
    assert_eq!(refusal(&done), (Code::Internal, reason::GATHER_FAILED.into()));
    assert_eq!(world.callbacks().await, (1, vec![job.id]));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_no_queue_has_taken_is_refused() {
    let gone = PublishError::Refused("QueueDoesNotExist".into());
    let world = ill(&[0, 1, 2], gone, false).0.build();
    let status = world.submit(plain()).await.unwrap_err();
    assert_eq!(told(&status), (Code::Internal, reason::PUBLISH_FAILED.into()));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_knows_can_be_sent_again_and_no_branch_runs_twice() {
    for takes in [true, false] {
        let lost = PublishError::Unknown("lost".into());
        let (plan, flag) = ill(&[2], lost, takes);
        let world = plan.build();
        let status = world.submit(plain()).await.unwrap_err();
        assert_eq!(told(&status), (Code::Unavailable, reason::PUBLISH_OUTCOME_UNKNOWN.into()));
        let facts = status.get_details_error_info().unwrap().metadata;
        let (id, resubmit_token) = (facts["job_id"].clone(), facts["resubmit_token"].clone());
        world.work("a").await;
        flag.store(false, Ordering::Relaxed);
        let again = SubmitRequest { resubmit_token, ..plain() };
        assert_eq!(world.submit(again).await.unwrap().id, id);
        for name in THREE {
            world.work(name).await;
        }
        assert_eq!(THREE.map(|name| world.script.calls_of(name)), [1, 1, 1]);
        assert_eq!(world.get(&id).await.unwrap().state(), State::Succeeded);
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_request_id_is_the_same_gather() {
    for way in WAYS {
        let world = Plan::new(way, &THREE, need(0)).build();
        let request = SubmitRequest { request_id: "r".into(), ..plain() };
        let first = world.submit(request.clone()).await.unwrap();
        assert_eq!(world.submit(request).await.unwrap().id, first.id);
        assert_eq!(world.station("a").queue.totals().sent, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_cannot_deliver_fails_its_branch_by_its_dead_letters() {
    let plan = Plan { tight: Some("b"), ..Plan::new(Way::Topic, &THREE, need(0)) };
    let world = plan.build();
    let large: Vec<u8> = (0..100).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).collect();
    let request = SubmitRequest { request: large.into(), ..plain() };
    let job = world.submit(request).await.unwrap();
    assert_eq!(world.topic.counts().dead_lettered, 1);
    world.work("a").await;
    assert!(world.bury("b").await[0].is_ack());
    let done = world.get(&job.id).await.unwrap();
    assert_eq!(branch_refusal(&done, 1), (Code::Unavailable, reason::DEAD_LETTERED.into()));
    assert_eq!(refusal(&done), (Code::Unavailable, reason::GATHER_FAILED.into()));
}

#[tokio::test(start_paused = true)]
async fn what_is_parked_says_which_branch_it_was() {
    for way in WAYS {
        let mut plan = Plan::new(way, &THREE, need(2));
        plan.route = |route| route.max_attempts = 1;
        let world = plan.build();
        world.script.set("b", Act::Fail(Status::unavailable("not today")));
        let job = world.submit(plain()).await.unwrap();
        world.work("b").await;
        let parked = world.parking.receive(1, Duration::ZERO).await.unwrap().remove(0);
        let call = envelope::open(&parked.body, &world.keys).unwrap();
        let of = call.membership.unwrap();
        assert_eq!(
            (of.branch.as_str(), of.addressees.len(), of.gather_id),
            ("b", 0, job.id.clone())
        );
        assert_eq!(call.job_id, branches(&job)[1].job.as_ref().unwrap().id);
        // A person may send it back as it is.
        let message = Message { body: parked.body.to_string(), ..Message::default() };
        world.station("b").queue.send(&message).unwrap();
        assert!(world.work("b").await[0].is_ack());
        assert_eq!(world.script.calls_of("b"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_know_its_branch_leaves_the_message_alone() {
    let world = Plan::new(Way::Topic, &THREE, need(0)).build();
    world.submit(plain()).await.unwrap();
    let station = world.station("a");
    let message = station.queue.receive(1, Duration::ZERO).await.unwrap().remove(0);
    let stop = CancellationToken::new();
    let run = |branch| {
        let settings = RunnerSettings { branch, ..RunnerSettings::default() };
        let outbox = Arc::new(queuebridge_worker::outbox::NoOutbox);
        let (store, keys) = (world.store.clone(), world.keys.clone());
        let routes = world.script.routes();
        let runner = Runner::new(routes, store, None, outbox, keys, world.clock, settings);
        let deliveries = vec![delivery(&message, &station.queue)];
        let stop = stop.clone();
        async move { batch::run(&runner, deliveries, None, &stop).await.remove(0) }
    };
    let verdict = run(Branch::Unknown).await;
    assert!(matches!(verdict, Verdict::Redeliver { reason: Reason::NoBranch, .. }), "{verdict:?}");
    assert_eq!(world.script.calls_of("a"), 0);
    let by_queue: Branch = "other=x,a=a".parse().unwrap();
    assert!(run(by_queue).await.is_ack());
    assert_eq!(world.script.calls_of("a"), 1);
}

/// The end of the branch is stored, and nothing after it.
#[tokio::test(start_paused = true)]
async fn what_a_crash_leaves_undone_is_done_by_the_redelivery() {
    for fault in [Fault::LoseRequest, Fault::LoseResponse] {
        // Which of the calls after the branch's own end is lost.
        for call in 0..5 {
            let world = Plan::new(Way::Queues, &["a"], need(0)).build();
            let request = SubmitRequest { callback: webhook(), ..plain() };
            let job = world.submit(request).await.unwrap();
            // Its claim and its completion.
            world.store.script([Fault::None; 2]);
            world.store.script(vec![Fault::None; call]);
            world.store.script([fault]);
            world.work("a").await;
            world.store.script([]);
            tokio::time::advance(secs(200)).await;
            world.work("a").await;
            assert_eq!(world.script.calls_of("a"), 1);
            let done = world.get(&job.id).await.unwrap();
            assert_eq!(done.state(), State::Succeeded, "{fault:?} of call {call}");
            let (_, told) = world.callbacks().await;
            assert!(!told.is_empty() && told.iter().all(|id| *id == job.id), "{fault:?} {call}");
            assert_eq!(world.station("a").queue.counts().visible, 0);
        }
    }
}

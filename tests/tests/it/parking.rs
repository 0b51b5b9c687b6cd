//! Messages that failed for good: dead letters, parking, leases that ran out.

use crate::fixture::{Job, START, Worker, append, flaky, redelivered};
use queuebridge_demo::v1;
use queuebridge_local::LoopbackOutbox;
use queuebridge_local::loopback::{Loopback, QueueConfig};
use queuebridge_proto::EnvelopeError::UnknownKey;
use queuebridge_proto::v1::call::Payload;
use queuebridge_proto::v1::{Call, LeasePolicy, State};
use queuebridge_proto::{JobId, Keyring, envelope};
use queuebridge_store::testing::Fault;
use queuebridge_store::{ClaimRequest, Clock, Lapsed, PayloadStore, ResultStore, Token, payload};
use queuebridge_worker::{Delivery, Reason, RunnerSettings, Verdict, batch};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::advance;
use tokio_util::sync::CancellationToken;
use tonic::Code;

const SECOND: Duration = Duration::from_secs(1);

async fn dead_letter(worker: &Worker, delivery: &Delivery) -> Verdict {
    let (runner, never) = (worker.dead_letters(), CancellationToken::new());
    batch::run(&runner, vec![delivery.clone()], None, &never).await.pop().unwrap()
}

/// A worker that claimed the job and was never heard of again.
async fn lose_a_worker(worker: &Worker, id: &JobId) {
    let now = worker.clock.now();
    let lease = now.plus(SECOND);
    let request = ClaimRequest::new("/m", Token::random(), lease, Lapsed::Take);
    worker.store.claim(id, request, now).await.unwrap();
    advance(SECOND * 2).await;
}

fn reasons(parked: Vec<(String, String)>) -> Vec<String> {
    parked.into_iter().map(|(_, reason)| reason).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ours_is_parked_and_hurts_no_neighbour() {
    let worker = Worker::new();
    let (_, mut good) = worker.job("Echo", &v1::EchoRequest::default(), &Job::default());
    let stranger = Worker { keys: Keyring::single(&[9; 32]), ..Worker::new() };
    let (_, forged) = stranger.job("Append", &append("forged"), &Job::default());
    good.receive_count = 7;
    let deliveries = vec![Delivery::new("{}"), forged.clone(), Delivery::new("!"), good];
    assert_eq!(worker.run_all(deliveries, None).await, vec![Verdict::Ack; 4]);
    assert_eq!(worker.executions("forged"), 0);
    let mut parked = worker.parked().await;
    parked.sort();
    let expected = [
        ("!".to_owned(), "UNDECODABLE".to_owned()),
        (forged.body.to_string(), "NOT_AUTHENTIC".to_owned()),
        ("{}".to_owned(), "UNDECODABLE".to_owned()),
    ];
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(parked, expected);
}

#[tokio::test(start_paused = true)]
async fn what_a_newer_worker_may_open_is_left_for_it_until_it_is_a_dead_letter() {
    let worker = Worker::new();
    let newer = Keyring::parse("7:MDEyMzQ1Njc4OWFiY2RlZg==").unwrap();
    let (_, delivery) =
        Worker { keys: newer, ..Worker::new() }.job("Append", &append("newer"), &Job::default());
    redelivered(&worker.run(&delivery).await, Reason::Envelope(UnknownKey(7)));
    assert!(worker.parked().await.is_empty());
    assert_eq!(dead_letter(&worker, &delivery).await, Verdict::Ack);
    let parked = worker.parked().await;
    assert_eq!(parked, [(delivery.body.to_string(), "UNKNOWN_VERSION".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn what_used_its_attempts_up_is_parked_as_it_was() {
    let worker = Worker::new();
    let job = Job { max_attempts: 1, ..Job::default() };
    let (id, delivery) = worker.job("Flaky", &flaky(9), &job);
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(worker.ended(&id).await.0, State::Failed);
    let parked = worker.parked().await;
    assert_eq!(parked, [(delivery.body.to_string(), "ATTEMPTS_EXHAUSTED".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn what_the_parking_queue_does_not_take_is_parked_without_its_request() {
    let mut small = None;
    let mut worker = Worker::sending(RunnerSettings::default(), |outbox| {
        let config = QueueConfig::standard("small", Clock::simulated(START));
        let config = QueueConfig { maximum_message_bytes: 2_048, ..config };
        let parking = small.insert(Loopback::new(config).unwrap()).clone();
        Arc::new(LoopbackOutbox { parking, ..outbox })
    });
    worker.parking = small.unwrap();
    let job = Job { max_attempts: 1, ..Job::default() };
    let message = (0..200).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
    let code = Code::Unavailable as i32;
    let fails = v1::FailRequest { code, message, ..v1::FailRequest::default() };
    let (id, delivery) = worker.job("Fail", &fails, &job);
    assert!(delivery.body.len() > 2_048);
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(worker.ended(&id).await.0, State::Failed);
    let (body, reason) = worker.parked().await.pop().expect("a parked message");
    assert_eq!(reason, "ATTEMPTS_EXHAUSTED");
    let [parked, sent] = [&*body, &*delivery.body].map(|body| {
        let call: Call = envelope::open(body, &worker.keys).unwrap();
        call.payload.unwrap()
    });
    let Payload::RequestRef(stored) = parked else { panic!("{parked:?}") };
    assert!(payload::is_request_of("t", &id, &stored.key), "{}", stored.key);
    let Payload::Request(sent) = sent else { panic!("{sent:?}") };
    assert_eq!(worker.payloads.get(&stored).await.unwrap(), sent);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_ends_its_job() {
    let worker = Worker::new();
    let (id, delivery) = worker.job("Append", &append("dead"), &Job::default());
    assert_eq!(dead_letter(&worker, &delivery).await, Verdict::Ack);
    let expected = (State::Failed, Code::Unavailable, "DEAD_LETTERED".to_owned());
    assert_eq!(worker.ended(&id).await, expected);
    assert_eq!(worker.executions("dead"), 0);
    assert_eq!(reasons(worker.parked().await), ["DEAD_LETTERED"]);
    // A copy in the source queue is not run any more.
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(worker.executions("dead"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_never_ends_what_succeeded_or_may_still_succeed() {
    let worker = Worker::new();
    let (id, delivery) = worker.job("Append", &append("late"), &Job::default());
    let now = worker.clock.now();
    let lease = now.plus(SECOND * 30);
    let request = ClaimRequest::new("/m", Token::random(), lease, Lapsed::Take);
    worker.store.claim(&id, request, now).await.unwrap();
    let after = redelivered(&dead_letter(&worker, &delivery).await, Reason::Held);
    assert_eq!(after, SECOND * 30, "when the lease ends");
    advance(SECOND * 31).await;
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(dead_letter(&worker, &delivery).await, Verdict::Ack);
    assert_eq!(worker.record(&id).await.unwrap().state, State::Succeeded);
    assert!(worker.parked().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_past_its_expiry_expires() {
    let worker = Worker::new();
    let job = Job { expires_in: SECOND * 5, ..Job::default() };
    let (id, delivery) = worker.job("Append", &append("over"), &job);
    advance(SECOND * 6).await;
    assert_eq!(dead_letter(&worker, &delivery).await, Verdict::Ack);
    assert_eq!(worker.ended(&id).await.0, State::Expired);
    assert_eq!(reasons(worker.parked().await), ["DEAD_LETTERED"]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_waits_for_a_store_that_is_down() {
    let worker = Worker::new();
    let (id, delivery) = worker.job("Append", &append("x"), &Job::default());
    worker.store.script([Fault::LoseRequest]);
    redelivered(&dead_letter(&worker, &delivery).await, Reason::StoreUnavailable);
    // Lost after the look: the copy is there already, the job is finished later.
    worker.store.script([Fault::None].into_iter().chain([Fault::LoseRequest; 4]));
    redelivered(&dead_letter(&worker, &delivery).await, Reason::StoreUnavailable);
    assert_eq!(worker.record(&id).await, None);
    assert_eq!(dead_letter(&worker, &delivery).await, Verdict::Ack);
    assert_eq!(worker.ended(&id).await.2, "DEAD_LETTERED");
}

#[tokio::test(start_paused = true)]
async fn a_lost_worker_costs_an_attempt_by_default() {
    let worker = Worker::new();
    let (id, delivery) = worker.job("Append", &append("retry"), &Job::default());
    lose_a_worker(&worker, &id).await;
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    let record = worker.record(&id).await.unwrap();
    assert_eq!((record.state, record.attempt), (State::Succeeded, 2));
}

#[tokio::test(start_paused = true)]
async fn a_lost_worker_fails_the_job_where_its_route_says_so() {
    let worker = Worker::new();
    let job = Job { lease_policy: LeasePolicy::Fail, ..Job::default() };
    let (id, delivery) = worker.job("Append", &append("fail"), &job);
    lose_a_worker(&worker, &id).await;
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(worker.ended(&id).await.2, "WORKER_LOST");
    assert_eq!(worker.executions("fail"), 0);
    assert_eq!(reasons(worker.parked().await), ["WORKER_LOST"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_worker_leaves_the_job_to_a_person_where_its_route_says_so() {
    let worker = Worker::new();
    let job = Job { lease_policy: LeasePolicy::Hold, ..Job::default() };
    let (id, delivery) = worker.job("Append", &append("hold"), &job);
    lose_a_worker(&worker, &id).await;
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(dead_letter(&worker, &delivery).await, Verdict::Ack);
    assert_eq!(worker.record(&id).await.unwrap().state, State::Running);
    assert_eq!(worker.executions("hold"), 0);
    assert_eq!(reasons(worker.parked().await), ["LEASE_LAPSED"; 2]);
    // Nobody came: it expires like any other.
    advance(SECOND * 3600).await;
    assert_eq!(dead_letter(&worker, &delivery).await, Verdict::Ack);
    assert_eq!(worker.ended(&id).await.0, State::Expired);
}

#[tokio::test(start_paused = true)]
async fn an_orderly_next_attempt_is_no_lost_worker() {
    for lease_policy in [LeasePolicy::Fail, LeasePolicy::Hold] {
        let worker = Worker::new();
        let job = Job { lease_policy, ..Job::default() };
        let (id, delivery) = worker.job("Flaky", &flaky(1), &job);
        redelivered(&worker.run(&delivery).await, Reason::Retry);
        assert_eq!(worker.run(&delivery).await, Verdict::Ack);
        assert_eq!(worker.record(&id).await.unwrap().state, State::Succeeded);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_person_sends_back_is_run_or_parked_again_and_never_deleted_unrun() {
    let worker = Worker::new();
    let (_, delivery) = worker.job("Append", &append("back"), &Job::default());
    let back = Delivery { parked: true, ..delivery };
    assert_eq!(worker.run(&back).await, Verdict::Ack);
    assert_eq!(worker.executions("back"), 1, "its job was not finished");
    assert!(worker.parked().await.is_empty());
    assert_eq!(worker.run(&back).await, Verdict::Ack);
    assert_eq!(dead_letter(&worker, &back).await, Verdict::Ack);
    assert_eq!(worker.executions("back"), 1);
    assert_eq!(reasons(worker.parked().await), ["FINISHED"; 2]);
}

//! What handlers say about what should happen next, and how far they are.

use crate::fixture::{Job, Worker, redelivered};
use queuebridge_demo::v1;
use queuebridge_demo::v1::next_request::Wish;
use queuebridge_local::loopback::Received;
use queuebridge_proto::UnixMillis;
use queuebridge_proto::v1::{Guarantee, State};
use queuebridge_store::{Cancelled, ResultStore};
use queuebridge_worker::{Delivery, Reason, Verdict};
use std::time::Duration;
use tokio::time::{advance, sleep};
use tonic::Code;

fn wish(wish: Wish, times: u32, after: i64) -> v1::NextRequest {
    let after = Some(prost_types::Duration { seconds: after, nanos: 0 });
    let key = uuid::Uuid::new_v4().to_string();
    v1::NextRequest { key, times, wish: wish as i32, after }
}

/// The next message of the worker's queue.
async fn sent(worker: &Worker) -> Option<Delivery> {
    let message: Received = worker.jobs.receive(1, Duration::ZERO).await.unwrap().pop()?;
    worker.jobs.delete(&message.receipt_handle).unwrap();
    Some(Delivery::new(message.body))
}

#[tokio::test(start_paused = true)]
async fn a_handler_fails_for_good_with_a_retried_code() {
    let worker = Worker::new();
    let request = v1::NextRequest { wish: Wish::Fail as i32, ..wish(Wish::Fail, 9, 0) };
    let (id, delivery) = worker.job("Next", &request, &Job::default());
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    let (state, code, _) = worker.ended(&id).await;
    assert_eq!((state, code), (State::Failed, Code::FailedPrecondition));
    let outcome = worker.record(&id).await.unwrap().outcome.unwrap();
    assert!(outcome.trailing_metadata.iter().all(|entry| !entry.key.contains("next")));
    assert!(worker.parked().await.is_empty(), "an answer of the handler is a result");
}

#[tokio::test(start_paused = true)]
async fn a_handler_chooses_the_time_of_its_next_attempt() {
    let worker = Worker::new();
    for (after, expected) in [(0, Duration::ZERO), (77, Duration::from_secs(77))] {
        let (id, delivery) = worker.job("Next", &wish(Wish::Retry, 1, after), &Job::default());
        let again = redelivered(&worker.run(&delivery).await, Reason::Retry);
        assert_eq!(again, expected);
        assert_eq!(worker.run(&delivery).await, Verdict::Ack);
        let record = worker.record(&id).await.unwrap();
        assert_eq!((record.state, record.attempt), (State::Succeeded, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_cannot_ask_for_more_attempts_than_there_are() {
    let worker = Worker::new();
    let job = Job { max_attempts: 2, ..Job::default() };
    let (id, delivery) = worker.job("Next", &wish(Wish::Retry, 9, 1), &job);
    redelivered(&worker.run(&delivery).await, Reason::Retry);
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(worker.ended(&id).await.1, Code::FailedPrecondition);
    assert_eq!(worker.parked().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_snoozed_job_comes_back_in_hops_and_no_attempt_is_counted() {
    let worker = Worker::new();
    let job = Job { max_attempts: 1, expires_in: Duration::from_secs(7200), ..Job::default() };
    let (id, delivery) = worker.job("Next", &wish(Wish::Snooze, 1, 2000), &job);
    let begun = worker.clock.now();
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    let record = worker.record(&id).await.unwrap();
    assert_eq!((record.state, record.attempt), (State::Accepted, 0));
    let mut hops = 0;
    loop {
        assert!(sent(&worker).await.is_none(), "before its time");
        advance(Duration::from_secs(900).min(left(&worker, begun))).await;
        let copy = sent(&worker).await.expect("after each delay");
        assert_eq!(worker.run(&copy).await, Verdict::Ack);
        hops += 1;
        if worker.record(&id).await.unwrap().state == State::Succeeded {
            break;
        }
    }
    assert_eq!(hops, 3, "900, 900 and 200 seconds");
    assert_eq!(worker.record(&id).await.unwrap().attempt, 1);
}

fn left(worker: &Worker, begun: UnixMillis) -> Duration {
    worker.clock.now().until(begun.plus(Duration::from_secs(2000)))
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_snoozed_past_its_expiry_expires() {
    let worker = Worker::new();
    let job = Job { expires_in: Duration::from_secs(60), ..Job::default() };
    let (id, delivery) = worker.job("Next", &wish(Wish::Snooze, 9, 3600), &job);
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    advance(Duration::from_secs(60)).await;
    let copy = sent(&worker).await.expect("at the expiry");
    assert_eq!(worker.run(&copy).await, Verdict::Ack);
    assert_eq!(worker.ended(&id).await.0, State::Expired);
}

#[tokio::test(start_paused = true)]
async fn an_ordered_job_cannot_be_snoozed() {
    let worker = Worker::new();
    let job = Job { group: Some("a"), ..Job::default() };
    let (id, delivery) = worker.job("Next", &wish(Wish::Snooze, 9, 5), &job);
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    let expected = (State::Failed, Code::FailedPrecondition, "SNOOZE_REFUSED".to_owned());
    assert_eq!(worker.ended(&id).await, expected);
    assert!(sent(&worker).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_job_without_a_claim_can_be_snoozed_too() {
    let worker = Worker::new();
    let job = Job { guarantee: Guarantee::AtLeastOnce, max_attempts: 1, ..Job::default() };
    let (id, delivery) = worker.job("Next", &wish(Wish::Snooze, 1, 5), &job);
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    advance(Duration::from_secs(5)).await;
    let copy = sent(&worker).await.unwrap();
    assert_eq!(worker.run(&copy).await, Verdict::Ack);
    assert_eq!(worker.record(&id).await.unwrap().state, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_snoozed_job_can_be_cancelled() {
    let worker = Worker::new();
    let (id, delivery) = worker.job("Next", &wish(Wish::Snooze, 1, 5), &Job::default());
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    let cancelled = worker.store.cancel(&id, worker.clock.now()).await.unwrap();
    assert_eq!(cancelled, Cancelled::BeforeStart);
    advance(Duration::from_secs(5)).await;
    let copy = sent(&worker).await.unwrap();
    assert_eq!(worker.run(&copy).await, Verdict::Ack);
    assert_eq!(worker.ended(&id).await.0, State::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_that_a_failed_attempt_has_not_seen_ends_the_job() {
    let worker = Worker::new();
    let request = v1::EchoRequest {
        delay: Some(prost_types::Duration { seconds: 5, nanos: 0 }),
        ..Default::default()
    };
    let (id, delivery) = worker.job("Echo", &request, &Job::default());
    // The host ends the attempt before the claim is renewed for the first time.
    let ends = Some(Duration::from_secs(4));
    let run = worker.run_all(vec![delivery], ends);
    let cancel = async {
        sleep(Duration::from_secs(1)).await;
        worker.store.cancel(&id, worker.clock.now()).await.unwrap()
    };
    let (verdicts, cancelled) = tokio::join!(run, cancel);
    assert_eq!(cancelled, Cancelled::Requested);
    assert_eq!(verdicts, [Verdict::Ack]);
    assert_eq!(worker.ended(&id).await.0, State::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn progress_can_be_seen_and_a_chatty_handler_writes_little() {
    let worker = Worker::new();
    let step = Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 });
    let request = v1::ReportRequest { steps: 10_000, step };
    let (id, delivery) = worker.job("Report", &request, &Job::default());
    let look = async {
        sleep(Duration::from_millis(4_500)).await;
        worker.record(&id).await.unwrap().progress.unwrap()
    };
    let (verdict, seen) = tokio::join!(worker.run(&delivery), look);
    assert_eq!(verdict, Verdict::Ack);
    assert!((0.1..0.5).contains(&seen.fraction), "{seen:?}");
    assert!(seen.message.starts_with("step "), "{seen:?}");
    // Ten to twelve seconds of work: a claim, a completion, this look, and a
    // report every two seconds.
    assert!(worker.store.calls() <= 12, "{} calls", worker.store.calls());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hears_of_its_cancellation_has_the_last_word() {
    let worker = Worker::new();
    let step = Some(prost_types::Duration { seconds: 0, nanos: 500_000_000 });
    let request = v1::ReportRequest { steps: 1000, step };
    let (id, delivery) = worker.job("Report", &request, &Job::default());
    let cancel = async {
        sleep(Duration::from_secs(1)).await;
        worker.store.cancel(&id, worker.clock.now()).await.unwrap()
    };
    let (verdict, cancelled) = tokio::join!(worker.run(&delivery), cancel);
    assert_eq!((verdict, cancelled), (Verdict::Ack, Cancelled::Requested));
    let record = worker.record(&id).await.unwrap();
    assert_eq!(record.state, State::Succeeded, "it answered within its grace");
}

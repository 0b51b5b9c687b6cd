//! Copies of a job's message that say something else than the first: whoever has made them
//! changes nothing of whom the job is told to, and what it counts for.

use crate::fixture::{Job, Worker, append, flaky};
use crate::waiting::secs;
use queuebridge_proto::job_id::Claims;
use queuebridge_proto::v1::callback::Target;
use queuebridge_proto::v1::{Call, Callback, Guarantee, Membership, State};
use queuebridge_proto::{JobId, callback, envelope};
use queuebridge_store::{ClaimRequest, GatherStore, Lapsed, ResultStore, Token};
use queuebridge_worker::{Delivery, Verdict, batch};
use std::time::Duration;
use tokio::time::advance;
use tokio_util::sync::CancellationToken;

const OWN: &str = "https://owner.example/";
const OTHER: &str = "https://other.example/";

fn to(url: &str) -> Option<Callback> {
    Some(Callback { target: Some(Target::WebhookUrl(url.to_owned())) })
}

fn told(url: &str) -> Job {
    Job { callback: to(url), ..Job::default() }
}

/// A copy of a message, changed by somebody who has the keys.
fn copy(worker: &Worker, delivery: &Delivery, change: impl FnOnce(&mut Call)) -> Delivery {
    let mut call: Call = envelope::open(&delivery.body, &worker.keys).unwrap();
    change(&mut call);
    Delivery::new(envelope::seal(&call, &worker.keys))
}

/// Whom the callbacks are for that lie in their queue.
async fn enqueued(worker: &Worker) -> Vec<Option<Callback>> {
    let messages = worker.callbacks.receive_batch(100, Duration::ZERO).await.unwrap();
    let of = |body: &str| callback::open(body, &worker.keys).unwrap().callback;
    messages.iter().map(|message| of(&message.body)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_a_finished_job_tells_only_whom_the_first_has_named() {
    for (first, expected) in [(told(OWN), vec![to(OWN), to(OWN)]), (Job::default(), vec![])] {
        let worker = Worker::new();
        let (_, delivery) = worker.job("Append", &append("once"), &first);
        assert_eq!(worker.run(&delivery).await, Verdict::Ack);
        let other = copy(&worker, &delivery, |call| call.callback = to(OTHER));
        assert_eq!(worker.run(&other).await, Verdict::Ack);
        assert_eq!(enqueued(&worker).await, expected);
        assert_eq!(worker.executions("once"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_the_next_attempt_tells_whom_the_first_has_named() {
    let worker = Worker::new();
    let (id, delivery) = worker.job("Flaky", &flaky(1), &told(OWN));
    assert!(!worker.run(&delivery).await.is_ack());
    advance(secs(60)).await;
    let other = copy(&worker, &delivery, |call| call.callback = to(OTHER));
    assert_eq!(worker.run(&other).await, Verdict::Ack);
    let record = worker.record(&id).await.unwrap();
    assert_eq!((record.state, record.attempt), (State::Succeeded, 2));
    assert_eq!(enqueued(&worker).await, [to(OWN)]);
}

#[tokio::test(start_paused = true)]
async fn a_copy_among_the_dead_letters_tells_whom_the_first_has_named() {
    let worker = Worker::new();
    let (_, delivery) = worker.job("Flaky", &flaky(9), &told(OWN));
    assert!(!worker.run(&delivery).await.is_ack());
    advance(secs(60)).await;
    let other = copy(&worker, &delivery, |call| call.callback = to(OTHER));
    let (undertaker, never) = (worker.dead_letters(), CancellationToken::new());
    assert_eq!(batch::run(&undertaker, vec![other], None, &never).await, [Verdict::Ack]);
    assert_eq!(enqueued(&worker).await, [to(OWN)]);
}

#[tokio::test(start_paused = true)]
async fn a_copy_counts_for_no_gather_that_the_first_has_not_named() {
    let worker = Worker::new();
    let (_, delivery) = worker.job("Append", &append("once"), &Job::default());
    let claims = Claims {
        uuid: uuid::Uuid::now_v7(),
        tenant: "t",
        method: "/a.B/C",
        expires_at: worker.clock.now().plus(secs(600)),
        retention: secs(600),
        at_least_once: false,
        reply_shard: None,
    };
    let gather = JobId::mint_gather(&claims, &worker.keys);
    let joining = copy(&worker, &delivery, |call| {
        let gather_id = gather.to_string();
        call.membership =
            Some(Box::new(Membership { gather_id, total: 2, ..Membership::default() }));
    });
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(worker.run(&joining).await, Verdict::Ack);
    let tally = worker.store.tally(&gather, 0, worker.clock.now()).await.unwrap();
    assert_eq!(tally.ended(), 0);
}

/// Jobs of an earlier version's worker have a record that does not say whom to tell.
#[tokio::test(start_paused = true)]
async fn without_a_first_word_the_message_at_hand_counts() {
    let worker = Worker::new();
    let (id, delivery) = worker.job("Append", &append("x"), &told(OWN));
    worker.store.cancel(&id, worker.clock.now()).await.unwrap();
    assert_eq!(worker.record(&id).await.unwrap().origin, None);
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(enqueued(&worker).await, [to(OWN)]);
}

#[tokio::test(start_paused = true)]
async fn a_job_without_a_claim_keeps_what_its_first_end_has_said() {
    let worker = Worker::new();
    let job = Job { guarantee: Guarantee::AtLeastOnce, ..told(OWN) };
    let (id, delivery) = worker.job("Append", &append("x"), &job);
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    let other = copy(&worker, &delivery, |call| call.callback = to(OTHER));
    assert_eq!(worker.run(&other).await, Verdict::Ack);
    assert_eq!(worker.record(&id).await.unwrap().origin.unwrap().callback, to(OWN));
}

#[tokio::test(start_paused = true)]
async fn a_lost_workers_job_is_told_to_whom_its_claim_has_named() {
    let worker = Worker::new();
    let (id, delivery) = worker.job("Append", &append("x"), &told(OTHER));
    let now = worker.clock.now();
    let request = ClaimRequest::new("/m", Token::random(), now.plus(secs(1)), Lapsed::Take);
    let origin = queuebridge_proto::v1::Origin { callback: to(OWN), ..<_>::default() };
    worker.store.claim(&id, request.with_origin(origin), now).await.unwrap();
    advance(secs(2)).await;
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(enqueued(&worker).await, [to(OWN)]);
}

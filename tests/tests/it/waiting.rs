//! Looking jobs up, and waiting for them, in simulated time.

use crate::fixture::{Job, START, Worker, append, reading, sleep_for};
use bytes::Bytes;
use queuebridge_gateway::auth::Verb;
use queuebridge_gateway::identity::Identity;
use queuebridge_gateway::leaving::CallRoom;
use queuebridge_gateway::lookup::Closes;
use queuebridge_gateway::lookup::{Found, Lookup};
use queuebridge_gateway::quota::Quotas;
use queuebridge_gateway::reading::Reading;
use queuebridge_gateway::replies::Replies;
use queuebridge_gateway::view::Methods;
use queuebridge_gateway::waiter::{Interest, Waiter};
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::{Announcement, FinishedJob, State};
use queuebridge_proto::{UnixMillis, outcome};
use queuebridge_store::{Gathers, ResultStore};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, advance, sleep};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::metadata::MetadataMap;
use tonic_types::StatusExt;

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) struct Gateway {
    pub(crate) lookup: Arc<Lookup>,
    pub(crate) waiter: Waiter,
    pub(crate) draining: CancellationToken,
}

fn gateway(worker: &Worker) -> Gateway {
    gateway_with(worker, Replies::default())
}

pub(crate) fn gateway_with(worker: &Worker, replies: Replies) -> Gateway {
    let lookup = Arc::new(Lookup {
        store: worker.store.clone(),
        gathers: Gathers::new(worker.store.clone(), None),
        closes: Closes::default(),
        streams: worker.store.clone(),
        quotas: Quotas::default(),
        job_id_keys: worker.keys.clone(),
        payloads: None,
        clock: worker.clock,
        methods: Methods::default(),
        max_response_bytes: 1 << 20,
        max_message_bytes: 4 << 20,
    });
    let draining = CancellationToken::new();
    let waiter = Waiter::new(lookup.clone(), Arc::new(replies), draining.clone());
    Gateway { lookup, waiter, draining }
}

fn state(job: &queuebridge_proto::v1::Job) -> State {
    job.state()
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_ends_without_a_result_is_answered_with_the_state() {
    let worker = Worker::new();
    let gateway = gateway(&worker);
    let (id, _) = worker.job("Append", &append("x"), &Job::default());
    let begun = Instant::now();
    let job = gateway.waiter.wait(&reading(&id), secs(7)).await.unwrap();
    assert_eq!((state(&job), begun.elapsed()), (State::Accepted, secs(7)));
}

#[tokio::test(start_paused = true)]
async fn an_announcement_ends_the_wait_at_once() {
    let worker = Worker::new();
    let gateway = gateway(&worker);
    let (id, delivery) = worker.job("Sleep", &sleep_for(9), &Job::default());
    let begun = Instant::now();
    let run = async {
        worker.run(&delivery).await;
        gateway.waiter.look(id.uuid());
        begun.elapsed()
    };
    let wait =
        async { (gateway.waiter.wait(&reading(&id), secs(60)).await.unwrap(), begun.elapsed()) };
    let (finished, (job, answered)) = tokio::join!(run, wait);
    assert_eq!(state(&job), State::Succeeded);
    assert!(answered - finished < Duration::from_millis(5), "{:?}", answered - finished);
}

#[tokio::test(start_paused = true)]
async fn a_lost_announcement_costs_time_and_not_the_answer() {
    let worker = Worker::new();
    let gateway = gateway(&worker);
    let (id, delivery) = worker.job("Sleep", &sleep_for(9), &Job::default());
    let begun = Instant::now();
    let job = reading(&id);
    let wait = gateway.waiter.wait(&job, secs(60));
    let (_, job) = tokio::join!(worker.run(&delivery), wait);
    assert_eq!(state(&job.unwrap()), State::Succeeded);
    // A quarter of the time that it had waited, and at most a quarter of that more.
    assert!(begun.elapsed() < secs(12), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_late_word_of_a_stream_does_not_hide_the_end() {
    let worker = Worker::new();
    let gateway = gateway(&worker);
    let (id, _) = worker.job("Append", &append("x"), &Job::default());
    let job = Bytes::copy_from_slice(id.uuid().as_bytes());
    let place = gateway.waiter.subscribe(&id, Interest::End);
    let outcome = outcome::success(Bytes::new(), &MetadataMap::new(), &MetadataMap::new());
    let finished = FinishedJob {
        state: State::Succeeded as i32,
        completed_at: worker.clock.now().0,
        outcome: Some(outcome),
        ..FinishedJob::default()
    };
    let told = Announcement { job: job.clone(), finished: Some(finished), ..Default::default() };
    gateway.waiter.announced(told);
    let streaming = Bytes::from_static(&[1; 16]);
    gateway.waiter.announced(Announcement { job, finished: None, streaming });
    let begun = Instant::now();
    let job = place.finished(&reading(&id), Found::Pending, secs(60)).await.unwrap();
    assert_eq!((state(&job), begun.elapsed()), (State::Succeeded, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn many_who_wait_for_one_job_share_its_polls() {
    let worker = Worker::new();
    let gateway = gateway(&worker);
    let (id, _) = worker.job("Append", &append("x"), &Job::default());
    let alone = {
        let before = worker.store.calls();
        gateway.waiter.wait(&reading(&id), secs(30)).await.unwrap();
        worker.store.calls() - before
    };
    let before = worker.store.calls();
    let job = reading(&id);
    let waits = (0..200).map(|_| gateway.waiter.wait(&job, secs(30)));
    futures_util::future::join_all(waits).await;
    let together = worker.store.calls() - before;
    // Each looks once at the beginning and once at the end.
    assert!(together <= 2 * 200 + alone, "{together} calls, {alone} alone");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_answers_those_who_wait() {
    let worker = Worker::new();
    let gateway = gateway(&worker);
    let (id, _) = worker.job("Append", &append("x"), &Job::default());
    let begun = Instant::now();
    let drain = async {
        sleep(secs(3)).await;
        gateway.draining.cancel();
    };
    let job = reading(&id);
    let (job, ()) = tokio::join!(gateway.waiter.wait(&job, secs(60)), drain);
    assert_eq!((state(&job.unwrap()), begun.elapsed()), (State::Accepted, secs(3)));
}

#[tokio::test(start_paused = true)]
async fn an_expired_job_is_stored_before_it_is_answered() {
    let worker = Worker::new();
    let gateway = gateway(&worker);
    let (id, _) =
        worker.job("Append", &append("x"), &Job { expires_in: secs(5), ..Job::default() });
    advance(secs(5) + CLOCK_SKEW - Duration::from_millis(1)).await;
    assert_eq!(state(&gateway.lookup.job(&reading(&id)).await.unwrap()), State::Accepted);
    assert_eq!(worker.record(&id).await, None);
    advance(Duration::from_millis(1)).await;
    let job = gateway.lookup.job(&reading(&id)).await.unwrap();
    assert_eq!(state(&job), State::Expired);
    assert_eq!(worker.record(&id).await.unwrap().state, State::Expired);
    let at = UnixMillis::from_proto(&job.complete_time.unwrap());
    assert_eq!(at, Some(START.plus(secs(5))), "the same for every reader");
}

#[tokio::test(start_paused = true)]
async fn a_wait_goes_over_the_expiry() {
    let worker = Worker::new();
    let gateway = gateway(&worker);
    let (id, _) =
        worker.job("Append", &append("x"), &Job { expires_in: secs(5), ..Job::default() });
    let job = gateway.waiter.wait(&reading(&id), secs(30)).await.unwrap();
    assert_eq!(state(&job), State::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_result_can_be_read_until_its_retention_ends_and_is_purged_after() {
    let worker = Worker::new();
    let gateway = gateway(&worker);
    let (id, delivery) = worker.job("Append", &append("x"), &Job::default());
    worker.run(&delivery).await;
    advance(id.retention() - Duration::from_millis(1)).await;
    assert_eq!(state(&gateway.lookup.job(&reading(&id)).await.unwrap()), State::Succeeded);
    // To the end of the tombstone, after it, and long after it.
    for more in [Duration::from_millis(1), secs(3600), secs(100 * 24 * 3600)] {
        advance(more).await;
        let status = gateway.lookup.job(&reading(&id)).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.get_error_details().error_info().unwrap().reason, "RESULT_PURGED");
    }
    worker.run(&delivery).await;
    assert_eq!(worker.executions("x"), 1, "a late duplicate is not run again");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_room_holds_nothing_and_looks_again_when_there_is_some() {
    let worker = Worker::new();
    let gateway = gateway(&worker);
    let (id, delivery) = worker.job("Append", &append("x"), &Job::default());
    worker.run(&delivery).await;
    let room = CallRoom::of(&tonic::Request::new(()));
    // All that one tenant of several may have, and what is free.
    let all = 192 * 1024 * 1024 + 8 * 1024;
    room.take(all).await.unwrap();
    let caller = Identity::trusted("t");
    let job = Reading::granted(&caller, Verb::Read, &id, room.clone()).unwrap();
    let begun = Instant::now();
    let refused = gateway.lookup.job(&job).await.unwrap_err();
    assert_eq!((refused.code(), begun.elapsed()), (Code::ResourceExhausted, secs(10)));
    let changes = async {
        sleep(secs(1)).await;
        gateway.lookup.delete(&id, "t").await.unwrap();
        room.give_back(all);
    };
    let (shown, ()) = tokio::join!(gateway.lookup.job(&job), changes);
    let status = shown.unwrap_err();
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "RESULT_PURGED");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_is_unavailable_with_the_time_to_come_back() {
    let worker = Worker::new();
    let gateway = gateway(&worker);
    let (id, _) = worker.job("Append", &append("x"), &Job::default());
    worker.store.script([queuebridge_store::testing::Fault::LoseRequest]);
    let status = gateway.lookup.job(&reading(&id)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.metadata().contains_key("grpc-retry-pushback-ms"));
    assert!(worker.store.get(&id, worker.clock.now()).await.is_ok());
}

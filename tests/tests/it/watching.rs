//! Following jobs: every change is shown once, to every watcher, also when streams
//! break.

use crate::fixture::{Job, Worker, append, reading, sleep_for};
use crate::waiting::{Gateway, gateway_with, secs};
use futures_util::{Stream, StreamExt};
use queuebridge_gateway::replies::Replies;
use queuebridge_gateway::version::Version;
use queuebridge_gateway::watch::{self, Shown};
use queuebridge_proto::JobId;
use queuebridge_proto::v1::State;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};
use tonic_types::StatusExt;

type Changes = Pin<Box<dyn Stream<Item = Result<Shown, Status>> + Send>>;

fn watch(gateway: &Gateway, id: &JobId, seen: Option<Version>) -> Changes {
    Box::pin(watch::changes(&gateway.waiter, reading(id), seen))
}

async fn states(changes: Changes) -> Vec<State> {
    changes.map(|shown| shown.unwrap().0.state()).collect().await
}

#[tokio::test(start_paused = true)]
async fn a_watcher_sees_the_states_in_order_and_then_the_stream_ends() {
    let worker = Worker::new();
    let gateway = gateway_with(&worker, Replies::default());
    let (id, delivery) = worker.job("Sleep", &sleep_for(9), &Job::default());
    let run = async {
        sleep(secs(5)).await;
        worker.run(&delivery).await
    };
    let (_, seen) = tokio::join!(run, states(watch(&gateway, &id, None)));
    assert_eq!(seen, [State::Accepted, State::Running, State::Succeeded]);
}

#[tokio::test(start_paused = true)]
async fn progress_is_shown_as_it_is_stored() {
    let worker = Worker::new();
    let gateway = gateway_with(&worker, Replies::default());
    let request = queuebridge_demo::v1::ReportRequest {
        steps: 10,
        step: Some(prost_types::Duration { seconds: 3, nanos: 0 }),
    };
    let (id, delivery) = worker.job("Report", &request, &Job::default());
    let changes: Vec<_> = async {
        let (_, seen) = tokio::join!(worker.run(&delivery), watch(&gateway, &id, None).collect());
        seen
    }
    .await;
    let progress: Vec<f64> = changes
        .iter()
        .filter_map(|shown: &Result<Shown, Status>| shown.as_ref().unwrap().0.progress.as_ref())
        .map(|progress| progress.fraction)
        .collect();
    assert!(progress.len() >= 8, "{progress:?}");
    assert!(progress.is_sorted(), "{progress:?}");
}

#[tokio::test(start_paused = true)]
async fn a_resumed_watch_shows_what_was_not_seen_and_nothing_twice() {
    let worker = Worker::new();
    let first = gateway_with(&worker, Replies::default());
    let second = gateway_with(&worker, Replies::default());
    let (id, delivery) = worker.job("Sleep", &sleep_for(9), &Job::default());
    let run = async {
        sleep(secs(5)).await;
        worker.run(&delivery).await
    };
    let resumed = async {
        let mut seen = Vec::new();
        let mut position: Option<Version> = None;
        // The stream breaks after each message, and goes on at the other gateway.
        for gateway in [&first, &second].into_iter().cycle() {
            let token = position.map(|version| version.to_token(&id));
            let from = token.and_then(|token| Version::from_token(&token, &id));
            match watch(gateway, &id, from).next().await {
                Some(shown) => {
                    let (job, version) = shown.unwrap();
                    seen.push(job.state());
                    position = Some(version);
                }
                None => return seen,
            }
        }
        seen
    };
    let (_, seen) = tokio::join!(run, resumed);
    assert_eq!(seen, [State::Accepted, State::Running, State::Succeeded]);
}

#[tokio::test(start_paused = true)]
async fn who_has_seen_the_end_is_not_shown_that_it_was_forgotten() {
    let worker = Worker::new();
    let gateway = gateway_with(&worker, Replies::default());
    let (id, delivery) = worker.job("Append", &append("x"), &Job::default());
    worker.run(&delivery).await;
    let (_, end) = watch(&gateway, &id, None).next().await.unwrap().unwrap();
    gateway.lookup.delete(&id, "t").await.unwrap();
    assert!(watch(&gateway, &id, Some(end)).next().await.is_none());
    let status = watch(&gateway, &id, None).next().await.unwrap().unwrap_err();
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "RESULT_PURGED");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_misses_what_was_outdated_and_gets_the_end() {
    let worker = Worker::new();
    let gateway = gateway_with(&worker, Replies::default());
    let (id, delivery) = worker.job("Sleep", &sleep_for(9), &Job::default());
    let mut changes = watch(&gateway, &id, None);
    assert_eq!(changes.next().await.unwrap().unwrap().0.state(), State::Accepted);
    worker.run(&delivery).await;
    sleep(secs(60)).await;
    assert_eq!(changes.next().await.unwrap().unwrap().0.state(), State::Succeeded);
    assert!(changes.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn thousands_of_watchers_of_one_job_share_its_polls() {
    let worker = Worker::new();
    let gateway = gateway_with(&worker, Replies::default());
    let (id, delivery) = worker.job("Sleep", &sleep_for(30), &Job::default());
    let watchers = (0..3_000).map(|_| states(watch(&gateway, &id, None)));
    let (_, seen) = tokio::join!(worker.run(&delivery), futures_util::future::join_all(watchers));
    assert!(seen.iter().all(|states| states.last() == Some(&State::Succeeded)));
    // Each looks once, when it comes.
    assert!(worker.store.calls() < 3_000 + 100, "{}", worker.store.calls());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_the_stream_with_the_word_to_go_on_elsewhere() {
    let worker = Worker::new();
    let gateway = gateway_with(&worker, Replies::default());
    let (id, _) = worker.job("Append", &append("x"), &Job::default());
    let mut changes = watch(&gateway, &id, None);
    changes.next().await.unwrap().unwrap();
    let begun = Instant::now();
    let drain = async {
        sleep(secs(3)).await;
        gateway.draining.cancel();
    };
    let (status, ()) = tokio::join!(changes.next(), drain);
    let status = status.unwrap().unwrap_err();
    assert_eq!((status.code(), begun.elapsed()), (Code::Unavailable, secs(3)));
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "DRAINING");
    assert!(changes.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_is_seen_within_the_pause_between_two_looks() {
    let worker = Worker::new();
    let gateway = gateway_with(&worker, Replies::default());
    let (id, _) = worker.job("Append", &append("x"), &Job::default());
    let cancel = async {
        sleep(secs(20)).await;
        gateway.lookup.cancel(&id).await.unwrap();
        Instant::now()
    };
    let watch = async {
        let seen = states(watch(&gateway, &id, None)).await;
        (seen, Instant::now())
    };
    let (cancelled, (seen, at)) = tokio::join!(cancel, watch);
    assert_eq!(seen, [State::Accepted, State::Cancelled]);
    assert!(at - cancelled <= Duration::from_millis(2_500), "{:?}", at - cancelled);
}

//! Single things that go wrong with streams, one by one, in simulated time.

use super::bridge::{Bridge, Plan, modes, one, open};
use super::world::{Answers, Script, messages, reason};
use bytes::Bytes;
use futures_util::future::join;
use futures_util::stream::{self, StreamExt};
use queuebridge_gateway::config::{Abandoned, CallConfig, Mode};
use queuebridge_proto::JobId;
use queuebridge_proto::v1::jobs_server::Jobs;
use queuebridge_proto::v1::{Announcement, DeleteRequest, ReadStreamRequest};
use queuebridge_store::testing::Fault;
use queuebridge_store::{Lane, StreamStore, Token};
use queuebridge_worker::{JobContext, RunnerSettings};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tonic::Response;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Says the id of each job, and then answers as `answer` says.
fn telling(
    answer: impl Fn(JobContext) -> Answers + Send + Sync + 'static,
) -> (Script, mpsc::UnboundedReceiver<JobId>) {
    let (tell, told) = mpsc::unbounded_channel();
    let answer = Arc::new(answer);
    let script = Script::new(move |request| {
        let context = request.extensions().get::<JobContext>().cloned().unwrap();
        // Not every test listens.
        let _ = tell.send(context.id);
        let answer = answer.clone();
        async move { Ok(Response::new(answer(context))) }
    });
    (script, told)
}

fn paced(count: usize, pause: Duration) -> Answers {
    stream::iter(0..count)
        .then(move |index| async move {
            sleep(if index == 0 { Duration::ZERO } else { pause }).await;
            Ok(Bytes::from(index.to_string()))
        })
        .boxed()
}

#[tokio::test(start_paused = true)]
async fn a_word_of_an_attempt_that_is_over_changes_nothing() {
    let (script, mut told) = telling(|_| paced(3, secs(3)));
    let bridge = Bridge::new(script, Plan::default());
    let story = async {
        let mut answer = bridge.call(one()).await.unwrap().into_inner();
        assert_eq!(answer.message().await.unwrap().unwrap(), "0");
        let id = told.recv().await.unwrap();
        let job = Bytes::copy_from_slice(id.uuid().as_bytes());
        let streaming = Bytes::copy_from_slice(Token::random().as_bytes());
        bridge.waiter.announced(Announcement { job, finished: None, streaming });
        let rest: Vec<_> = answer.map(Result::unwrap).collect().await;
        assert_eq!(rest, ["1", "2"]);
    };
    bridge.during(story).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_nothing_but_empty_messages_is_cut_and_held_back_as_well() {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = made.clone();
    let (script, _told) = telling(move |_| {
        let counter = counter.clone();
        let empty = (0..200_000).map(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(Bytes::new())
        });
        stream::iter(empty).boxed()
    });
    let bridge = Bridge::new(script, Plan::default());
    let story = async {
        let mut answer = bridge.call(one()).await.unwrap().into_inner();
        assert_eq!(answer.message().await.unwrap().unwrap(), "");
        sleep(secs(30)).await;
        let ahead = made.load(Ordering::SeqCst);
        assert!(ahead < 50_000, "{ahead} messages ahead of their reader");
        let mut rest = 0;
        while answer.message().await.unwrap().is_some() {
            rest += 1;
        }
        assert_eq!(rest, 199_999);
    };
    bridge.during(story).await;
}

/// Many messages of 64 KiB, and how many of them were made.
fn plenty(count: usize) -> (Script, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = made.clone();
    let (script, _) = telling(move |_| {
        let counter = counter.clone();
        let large = (0..count).map(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(Bytes::from(vec![7; 64 * 1024]))
        });
        stream::iter(large).boxed()
    });
    (script, made)
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_pauses_for_long_still_holds_the_handler_back() {
    let (script, made) = plenty(200);
    let bridge = Bridge::new(script, Plan::default());
    let story = async {
        let mut answer = bridge.call(one()).await.unwrap().into_inner();
        answer.message().await.unwrap().unwrap();
        sleep(secs(300)).await;
        let ahead = made.load(Ordering::SeqCst);
        assert!(ahead < 30, "{ahead} messages of 64 KiB");
        assert_eq!(answer.map(Result::unwrap).count().await, 199);
    };
    bridge.during(story).await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_gone_holds_the_handler_back_once() {
    let (script, made) = plenty(200);
    let calls = CallConfig { when_abandoned: Some(Abandoned::Finish), ..CallConfig::default() };
    let bridge = Bridge::new(script, Plan { calls, ..Plan::default() });
    let story = async {
        let mut answer = bridge.call(one()).await.unwrap().into_inner();
        answer.message().await.unwrap().unwrap();
        drop(answer);
        sleep(secs(120)).await;
        assert_eq!(made.load(Ordering::SeqCst), 200);
    };
    bridge.during(story).await;
}

#[tokio::test(start_paused = true)]
async fn stores_that_do_not_answer_once_end_no_stream() {
    let (script, made) = plenty(100);
    let settings = RunnerSettings { record_bytes: 40_000, ..Plan::default().settings };
    let bridge = Bridge::new(script, Plan { settings, ..Plan::default() });
    let story = async {
        bridge.store.every(7, Fault::LoseRequest);
        bridge.payloads.every(4, Fault::LoseResponse);
        let answer = bridge.call(one()).await.unwrap().into_inner();
        assert_eq!(answer.map(Result::unwrap).count().await, 100);
    };
    bridge.during(story).await;
    assert_eq!(made.load(Ordering::SeqCst), 100);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_one_message_is_read_like_any_other() {
    let (script, mut told) = telling(|_| messages(["only"]));
    let bridge = Bridge::new(script, modes(&[Mode::Async]));
    let story = async {
        bridge.call(one()).await.unwrap();
        let id = told.recv().await.unwrap().to_string();
        for (from, expected) in [(0, &["only"][..]), (1, &[])] {
            let request = ReadStreamRequest { id: id.clone(), from, attempt: Bytes::new() };
            let read = bridge.jobs.read_stream(bridge.asking(request)).await.unwrap();
            let all: Vec<_> = read.into_inner().map(|one| one.unwrap().message).collect().await;
            assert_eq!(all, expected, "from {from}");
        }
    };
    bridge.during(story).await;
}

#[tokio::test(start_paused = true)]
async fn a_deterministic_stream_goes_on_where_its_end_comes_with_its_only_message() {
    let (script, _told) = telling(|context| match context.attempt {
        1 => messages(["only"])
            .chain(stream::once(async {
                sleep(secs(2)).await;
                Err(tonic::Status::unavailable("again"))
            }))
            .boxed(),
        _ => messages(["only"]),
    });
    let calls =
        CallConfig { deterministic: true, modes: vec![Mode::Auto], ..CallConfig::default() };
    let bridge = Bridge::new(script, Plan { calls, ..Plan::default() });
    let story = async {
        let answer = bridge.call(one()).await.unwrap().into_inner();
        let all: Vec<_> = answer.map(|one| one.map_err(|status| reason(&status))).collect().await;
        assert_eq!(all, [Ok(Bytes::from("only"))]);
    };
    bridge.during(story).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_leaves_no_part_of_a_stream_behind() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let echo = Script::new(move |request| {
        tell.send(request.extensions().get::<JobContext>().unwrap().id).unwrap();
        async move { Ok(Response::new(request.into_inner().boxed())) }
    });
    let settings = RunnerSettings { record_bytes: 40_000, ..Plan::default().settings };
    let bridge = Bridge::new(echo, Plan { settings, ..Plan::default() });
    let story = async {
        let (send, request) = open();
        let rest = async {
            sleep(secs(1)).await;
            send.send(Bytes::from(vec![7; 500_000])).await.unwrap();
            drop(send);
        };
        let (answer, ()) = join(bridge.call(request), rest).await;
        assert_eq!(answer.unwrap().into_inner().map(Result::unwrap).count().await, 2);
        let id = told.recv().await.unwrap();
        assert_eq!(bridge.payloads.inner().object_count(), 2, "one each way");
        let delete = DeleteRequest { id: id.to_string() };
        bridge.jobs.delete(bridge.asking(delete)).await.unwrap();
        assert_eq!(bridge.payloads.inner().object_count(), 0);
        let later = bridge.store.read(&id, Lane::Request, 0, Duration::ZERO).await.unwrap();
        assert_eq!(later, None);
        assert_eq!(bridge.store.inner().stream_count(), 0);
    };
    bridge.during(story).await;
}

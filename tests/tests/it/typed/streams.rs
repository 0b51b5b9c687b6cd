//! Streams of messages through the queue, each way and both.

use super::world::{PATIENCE, RUN, Script, World, messages, one, read, reason};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use queuebridge_demo::v1::probe_client::ProbeClient;
use queuebridge_demo::v1::{ChatRequest, CountRequest, SumRequest};
use queuebridge_gateway::config::{CallConfig, Mode};
use queuebridge_proto::v1::{DeleteRequest, ReadStreamRequest};
use queuebridge_worker::JobContext;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_messages_arrive_in_order() {
    let world = World::demo().await;
    let mut client = ProbeClient::new(world.channel.clone());
    let count = CountRequest { up_to: 20_000, pause: None };
    let numbers = client.count(count).await.unwrap().into_inner();
    let numbers: Vec<u32> = numbers.map(|number| number.unwrap().number).collect().await;
    assert_eq!(numbers, (1..=20_000).collect::<Vec<_>>());
    let none = client.count(CountRequest::default()).await.unwrap().into_inner();
    assert_eq!(none.count().await, 0, "an empty stream is an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_many_messages_is_one_job() {
    let world = World::demo().await;
    let mut client = ProbeClient::new(world.channel.clone());
    for (count, sum) in [(0, 0), (1, 1), (3, 6), (40_000, 800_020_000)] {
        let numbers = stream::iter((1..=count).map(|number| SumRequest { number }));
        let answer = client.sum(numbers).await.unwrap().into_inner();
        assert_eq!((i64::from(answer.numbers), answer.sum), (count, sum));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_an_answer_before_it_goes_on_is_answered() {
    let world = World::demo().await;
    let mut client = ProbeClient::new(world.channel.clone());
    let (send, requests) = mpsc::channel(1);
    let say = |text: &'static str| ChatRequest { payload: Bytes::from_static(text.as_bytes()) };
    send.send(say("first")).await.unwrap();
    let mut answers = client.chat(ReceiverStream::new(requests)).await.unwrap().into_inner();
    let mut number = 0;
    for text in ["first", "second", "third"] {
        let answer = timeout(PATIENCE, answers.message()).await.unwrap().unwrap().unwrap();
        number += 1;
        assert_eq!((answer.payload, answer.number), (Bytes::from_static(text.as_bytes()), number));
        let next = ["second", "third", ""][number as usize - 1];
        if !next.is_empty() {
            send.send(say(next)).await.unwrap();
        }
    }
    drop(send);
    assert!(timeout(PATIENCE, answers.message()).await.unwrap().unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_before_an_error_arrives_and_so_does_the_error() {
    let fails = Script::new(|_| async {
        let mut metadata = MetadataMap::new();
        metadata.insert("at-the-end", "1".parse().unwrap());
        let end = Status::with_metadata(Code::DataLoss, "broke", metadata);
        let mut answer =
            Response::new(messages(["a", "b"]).chain(stream::iter([Err(end)])).boxed());
        answer.metadata_mut().insert("at-first", "0".parse().unwrap());
        Ok(answer)
    });
    let world = World::script(fails, CallConfig::default()).await;
    let answer = world.run("").await.unwrap();
    assert_eq!(answer.metadata().get("at-first").unwrap(), "0");
    let (texts, end) = read(answer.into_inner()).await;
    assert_eq!(texts, ["a", "b"]);
    let end = end.unwrap_err();
    assert_eq!((end.code(), end.message()), (Code::DataLoss, "broke"));
    assert_eq!(end.metadata().get("at-the-end").unwrap(), "1");
}

fn at_the_end() -> MetadataMap {
    let mut metadata = MetadataMap::new();
    metadata.insert("at-the-end", "1".parse().unwrap());
    metadata
}

#[tokio::test(flavor = "multi_thread")]
async fn initial_metadata_comes_first_also_where_nothing_follows() {
    let fails = Script::new(|_| async {
        let end = Status::with_metadata(Code::DataLoss, "broke", at_the_end());
        let mut answer = Response::new(stream::iter([Err(end)]).boxed());
        answer.metadata_mut().insert("at-first", "0".parse().unwrap());
        Ok(answer)
    });
    let world = World::script(fails, CallConfig::default()).await;
    let answer = world.run("").await.expect("initial metadata is no error");
    assert_eq!(answer.metadata().get("at-first").unwrap(), "0");
    assert!(answer.metadata().get("at-the-end").is_none());
    let end = read(answer.into_inner()).await.1.unwrap_err();
    assert_eq!((end.code(), end.message()), (Code::DataLoss, "broke"));
    assert_eq!(end.metadata().get("at-the-end").unwrap(), "1");
    assert!(end.metadata().get("at-first").is_none());

    // What is set on an error is its trailing metadata, and there are no others.
    let fails = Script::new(|_| async {
        Err(Status::with_metadata(Code::DataLoss, "broke", at_the_end()))
    });
    let world = World::script(fails, CallConfig::default()).await;
    let end = world.run("").await.unwrap_err();
    assert_eq!(end.metadata().get("at-the-end").unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_of_a_handler_stays_what_it_is() {
    let beyond = Script::new(|_| async { Err(Status::out_of_range("beyond the end")) });
    let world = World::script(beyond, CallConfig::default()).await;
    let status = world.run("").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::OutOfRange, "beyond the end"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_the_handler_back() {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = made.clone();
    let plenty = Script::new(move |_| {
        let counter = counter.clone();
        async move {
            let messages = (0..1000).map(move |_| {
                counter.fetch_add(1, Ordering::SeqCst);
                Ok(Bytes::from(vec![7; 64 * 1024]))
            });
            Ok(Response::new(stream::iter(messages).boxed()))
        }
    });
    let world = World::script(plenty, CallConfig::default()).await;
    let mut answer = world.run("").await.unwrap().into_inner();
    answer.message().await.unwrap().unwrap();
    // It stops by itself, long before its end.
    let mut before = usize::MAX;
    let stopped = async {
        while before != made.load(Ordering::SeqCst) {
            before = made.load(Ordering::SeqCst);
            sleep(Duration::from_millis(300)).await;
        }
    };
    timeout(PATIENCE, stopped).await.unwrap();
    let ahead = made.load(Ordering::SeqCst);
    assert!(ahead < 200, "{ahead} messages of 64 KiB");
    let (_, end) = {
        let mut count = 1;
        let end = loop {
            match answer.message().await {
                Ok(Some(_)) => count += 1,
                Ok(None) => break Ok(()),
                Err(status) => break Err(status),
            }
        };
        assert_eq!(count, 1000);
        ((), end)
    };
    assert!(end.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_breaks_off_is_never_taken_for_a_whole_one() {
    let (ending, mut ended) = mpsc::unbounded_channel();
    let sum = Script::new(move |request| {
        let context = request.extensions().get::<JobContext>().cloned().unwrap();
        let ending = ending.clone();
        ending.send("started").unwrap();
        async move {
            let mut messages = request.into_inner();
            let dropped = Dropped(ending.clone());
            while messages.message().await?.is_some() {}
            ending.send("whole").unwrap();
            std::mem::forget(dropped);
            drop(context);
            Ok(Response::new(super::world::messages(["sum"])))
        }
    });
    let world = World::script(sum, CallConfig::default()).await;
    let (send, requests) = mpsc::channel::<Bytes>(4);
    send.send(Bytes::from_static(b"1")).await.unwrap();
    let mut request = Request::new(ReceiverStream::new(requests));
    let cancel = request.cancellation_handle();
    let mut call = std::pin::pin!(world.call(RUN, request));
    tokio::select! {
        answer = &mut call => panic!("{answer:?}"),
        started = ended.recv() => assert_eq!(started, Some("started")),
    }
    cancel.cancel();
    let status = call.await.unwrap_err();
    assert_eq!(status.code(), Code::Cancelled);
    assert_eq!(timeout(PATIENCE, ended.recv()).await.unwrap(), Some("dropped"));
}

struct Dropped(mpsc::UnboundedSender<&'static str>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_id_can_read_a_stream_again_and_from_anywhere() {
    let modes = vec![Mode::Async];
    let world = World::script(
        Script::new(|_| async { Ok(Response::new(messages(["a", "b", "c"]))) }),
        CallConfig { modes, ..CallConfig::default() },
    )
    .await;
    let answer = world.run("").await.unwrap();
    let id = answer.metadata().get("qb-job-id").unwrap().to_str().unwrap().to_owned();
    let mut attempt = Bytes::new();
    for from in [0_u32, 1, 3] {
        let request =
            ReadStreamRequest { id: id.clone(), from: from.into(), attempt: attempt.clone() };
        let messages = world.jobs().read_stream(request).await.unwrap().into_inner();
        let messages: Vec<_> = messages.map(Result::unwrap).collect().await;
        let expected = (0..).zip(["a", "b", "c"]).map(|(number, text)| (number, Bytes::from(text)));
        let expected: Vec<_> = expected.filter(|(number, _)| *number >= u64::from(from)).collect();
        let got: Vec<_> = messages.iter().map(|one| (one.number, one.message.clone())).collect();
        assert_eq!(got, expected, "from {from}");
        if let Some(first) = messages.first() {
            attempt = first.attempt.clone();
        }
    }
    let other = ReadStreamRequest { id: id.clone(), from: 1, attempt: vec![1; 16].into() };
    let mut messages = world.jobs().read_stream(other).await.unwrap().into_inner();
    let status = messages.message().await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Aborted, "STREAM_RETRIED"));
    world.jobs().delete(DeleteRequest { id: id.clone() }).await.unwrap();
    let again = ReadStreamRequest { id, from: 0, attempt: Bytes::new() };
    let mut messages = world.jobs().read_stream(again).await.unwrap().into_inner();
    assert_eq!(reason(&messages.message().await.unwrap_err()), "RESULT_PURGED");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_pass_in_both_directions() {
    let echo =
        Script::new(|request| async move { Ok(Response::new(request.into_inner().boxed())) });
    let world = World::script(echo, CallConfig::default()).await;
    let large: Vec<Bytes> = (0..6).map(|n| Bytes::from(vec![n; 1_000_000])).collect();
    let request = Request::new(stream::iter(large.clone()));
    let answer = world.call(RUN, request).await.unwrap().into_inner();
    let answer: Vec<Bytes> = answer.map(Result::unwrap).collect().await;
    assert!(answer == large);
    let _ = one("");
}

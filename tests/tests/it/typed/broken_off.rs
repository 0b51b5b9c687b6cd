//! Requests that stay open when their attempt ends: whatever reads them ends as well.

use super::bridge::{Bridge, Plan, found, open};
use super::world::{PATIENCE, RUN, Script, World, messages, reason};
use bytes::Bytes;
use futures_util::future::join;
use futures_util::stream::StreamExt;
use queuebridge_gateway::config::CallConfig;
use queuebridge_proto::JobId;
use queuebridge_proto::raw::RawCodec;
use queuebridge_proto::v1::jobs_server::Jobs;
use queuebridge_proto::v1::{CancelRequest, State};
use queuebridge_worker::JobContext;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::client::Grpc;
use tonic::transport::{Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The tasks of one attempt.
struct Tasks {
    id: JobId,
    /// How many messages came, and how their stream ended.
    reading: JoinHandle<(usize, Option<Status>)>,
    /// Ends when the handler's context says that it is to give way.
    told: JoinHandle<()>,
}

async fn count(mut requests: Streaming<Bytes>) -> (usize, Option<Status>) {
    let mut count = 0;
    loop {
        match requests.message().await {
            Ok(Some(_)) => count += 1,
            Ok(None) => return (count, None),
            Err(status) => return (count, Some(status)),
        }
    }
}

/// A handler that reads its request in a task of its own, and answers after so long.
fn reading_apart(after: Duration) -> (Script, mpsc::UnboundedReceiver<Tasks>) {
    let (tell, tasks) = mpsc::unbounded_channel();
    let script = Script::new(move |request| {
        let context = request.extensions().get::<JobContext>().cloned().unwrap();
        let told = tokio::spawn(context.cancelled.clone().cancelled_owned());
        let reading = tokio::spawn(count(request.into_inner()));
        tell.send(Tasks { id: context.id, reading, told }).unwrap();
        async move {
            sleep(after).await;
            Ok(Response::new(messages(["done"])))
        }
    });
    (script, tasks)
}

async fn check_broken(reading: JoinHandle<(usize, Option<Status>)>) {
    let (count, end) = timeout(secs(300), reading).await.expect("it still waits").unwrap();
    let end = end.expect("a part was taken for the whole");
    assert_eq!(
        (count, end.code(), reason(&end).as_str()),
        (1, Code::Aborted, "REQUEST_BROKEN_OFF")
    );
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Cause {
    Leaves,
    Cancels,
    Deadline,
    Answered,
}

#[tokio::test(start_paused = true)]
async fn a_task_that_reads_an_open_request_ends_with_the_attempt() {
    for cause in [Cause::Leaves, Cause::Cancels, Cause::Deadline, Cause::Answered] {
        let after = if cause == Cause::Answered { secs(5) } else { secs(3600) };
        let (script, mut tasks) = reading_apart(after);
        let bridge = Bridge::new(script, Plan::default());
        let story = async {
            let (_send, mut request) = open();
            if cause == Cause::Deadline {
                request.set_timeout(secs(20));
            }
            let mut call = Box::pin(bridge.call(request));
            let Tasks { id, reading, told } = tokio::select! {
                answer = &mut call => panic!("{answer:?}"),
                tasks = tasks.recv() => tasks.unwrap(),
            };
            match cause {
                Cause::Leaves => drop(call),
                Cause::Cancels => {
                    let request = CancelRequest { id: id.to_string() };
                    bridge.jobs.cancel(bridge.asking(request)).await.unwrap();
                    assert_eq!(call.await.unwrap_err().code(), Code::Cancelled);
                }
                Cause::Deadline => {
                    assert_eq!(call.await.unwrap_err().code(), Code::DeadlineExceeded);
                }
                Cause::Answered => {
                    let answer: Vec<_> = call.await.unwrap().into_inner().collect().await;
                    assert_eq!(answer.len(), 1);
                }
            }
            check_broken(reading).await;
            if cause == Cause::Answered {
                assert!(!told.is_finished(), "the work of an answered job may go on");
                told.abort();
                return;
            }
            timeout(secs(300), told).await.unwrap().unwrap();
            sleep(secs(30)).await;
            let state = found(&bridge, &id).await;
            assert!(matches!(state, State::Cancelled | State::Expired), "{cause:?}: {state:?}");
        };
        bridge.during(story).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_leaves_no_reader_behind() {
    let (script, mut tasks) = reading_apart(secs(3600));
    let bridge = Bridge::new(script, Plan::default());
    let (_send, request) = open();
    let stopped = async {
        let started = async { tasks.recv().await.unwrap() };
        let Tasks { reading, told, .. } = tokio::select! {
            () = bridge.worker() => unreachable!(),
            tasks = started => tasks,
        };
        check_broken(reading).await;
        timeout(secs(300), told).await.unwrap().unwrap();
    };
    tokio::select! {
        (answer, ()) = join(bridge.call(request), stopped) => panic!("{answer:?}"),
        () = async { sleep(secs(400)).await } => {}
    }
}

/// What a handler makes of a broken request is not the job's answer.
#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_half_of_a_request_is_not_believed() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let script = Script::new(move |request| {
        tell.send(request.extensions().get::<JobContext>().unwrap().id).unwrap();
        async move {
            let _ = count(request.into_inner()).await;
            Ok(Response::new(messages(["the sum of what has come"])))
        }
    });
    let bridge = Bridge::new(script, Plan::default());
    let story = async {
        let (_send, request) = open();
        let id = tokio::select! {
            answer = bridge.call(request) => panic!("{answer:?}"),
            id = told.recv() => id.unwrap(),
        };
        sleep(secs(60)).await;
        assert_eq!(found(&bridge, &id).await, State::Cancelled);
    };
    bridge.during(story).await;
}

struct Live(mpsc::UnboundedSender<&'static str>);

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.0.send("ended");
    }
}

/// Over real sockets.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_handed_to_another_server_ends_there_as_well() {
    let (there, mut at_the_other) = mpsc::unbounded_channel();
    let other = Script::new(move |request| {
        let live = Live(there.clone());
        there.send("started").unwrap();
        async move {
            let _live = live;
            let (_, end) = count(request.into_inner()).await;
            end.map_or_else(|| Ok(Response::new(messages(["whole"]))), Err)
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = TcpListenerStream::new(listener);
    let server = tokio::spawn(Server::builder().add_service(other).serve_with_incoming(incoming));
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();

    let (tell, mut handed_on) = mpsc::unbounded_channel();
    let script = Script::new(move |request| {
        let mut grpc = Grpc::new(channel.clone());
        let tell = tell.clone();
        async move {
            let requests =
                request.into_inner().take_while(|message| std::future::ready(message.is_ok()));
            let requests = Request::new(requests.map(Result::unwrap));
            // The call goes on by itself, whatever becomes of the handler.
            let call = tokio::spawn(async move {
                grpc.ready().await.unwrap();
                let path = http::uri::PathAndQuery::from_static(RUN);
                let answer = grpc.streaming(requests, path, RawCodec).await;
                answer.map(|answer: Response<Streaming<Bytes>>| drop(answer))
            });
            tell.send(call).unwrap();
            std::future::pending().await
        }
    });
    let world = World::script(script, CallConfig::default()).await;
    let (send, requests) = mpsc::channel::<Bytes>(4);
    send.send(Bytes::from_static(b"1")).await.unwrap();
    let mut request = Request::new(ReceiverStream::new(requests));
    let cancel = request.cancellation_handle();
    let mut call = std::pin::pin!(world.call(RUN, request));
    let handed_on = tokio::select! {
        answer = &mut call => panic!("{answer:?}"),
        handed_on = handed_on.recv() => handed_on.unwrap(),
    };
    assert_eq!(timeout(PATIENCE, at_the_other.recv()).await.unwrap(), Some("started"));
    cancel.cancel();
    assert_eq!(call.await.unwrap_err().code(), Code::Cancelled);
    assert_eq!(timeout(PATIENCE, at_the_other.recv()).await.unwrap(), Some("ended"));
    timeout(PATIENCE, handed_on).await.expect("the call is still open").unwrap().unwrap();
    server.abort();
}

//! Waiting, tickets, and not waiting at all.

use super::world::{PATIENCE, RUN, Script, World, messages, one, reason};
use futures_util::StreamExt;
use prost::Message;
use queuebridge_gateway::config::{Abandoned, CallConfig, Mode};
use queuebridge_proto::longrunning::operations_client::OperationsClient;
use queuebridge_proto::longrunning::{Operation, WaitOperationRequest, operation};
use queuebridge_proto::v1::{GetResultRequest, Job, job};
use queuebridge_worker::JobContext;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tonic::{Code, Request, Response, Status};

/// Says each call, and ends when it is told to.
struct Slow {
    script: Script,
    started: mpsc::UnboundedReceiver<()>,
    end: Arc<Notify>,
    /// Of handlers that were told that nobody wants them any more.
    cancelled: mpsc::UnboundedReceiver<()>,
}

fn slow() -> Slow {
    let (starting, started) = mpsc::unbounded_channel();
    let (cancelling, cancelled) = mpsc::unbounded_channel();
    let end = Arc::new(Notify::new());
    let ending = end.clone();
    let script = Script::new(move |request| {
        let context = request.extensions().get::<JobContext>().cloned().unwrap();
        let (end, cancelling) = (ending.clone(), cancelling.clone());
        starting.send(()).unwrap();
        async move {
            tokio::select! {
                () = end.notified() => Ok(Response::new(messages(["done"]))),
                () = context.cancelled.cancelled() => {
                    let _ = cancelling.send(());
                    Err(Status::cancelled("gave way"))
                }
            }
        }
    });
    Slow { script, started, end, cancelled }
}

fn with(
    mode: &'static str,
    timeout: Option<Duration>,
) -> Request<impl futures_util::Stream<Item = bytes::Bytes> + Send> {
    let mut request = Request::new(one("hello"));
    request.metadata_mut().insert("qb-mode", mode.parse().unwrap());
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    request
}

/// In this time a handler has begun, also on a machine with other work.
const ENOUGH: Duration = Duration::from_secs(5);

fn modes(modes: &[Mode]) -> CallConfig {
    CallConfig { modes: modes.to_vec(), ..CallConfig::default() }
}

/// The job of a status or an answer, when it is finished.
async fn finished(world: &World, id: &str) -> Job {
    let wait = Some(prost_types::Duration { seconds: 300, nanos: 0 });
    let request = GetResultRequest { id: id.to_owned(), wait };
    world.jobs().get_result(request).await.unwrap().into_inner()
}

fn operation_in(status: &Status) -> Operation {
    let full = tonic_types::Status::decode(status.details()).unwrap();
    let url = "type.googleapis.com/google.longrunning.Operation";
    let any = full.details.iter().find(|any| any.type_url == url).unwrap();
    Operation::decode(&any.value[..]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_takes_too_long_becomes_a_ticket_and_goes_on() {
    let mut slow = slow();
    let world = World::script(slow.script, modes(&[Mode::Auto])).await;
    let mut status = world.patient_call(with("auto", Some(ENOUGH))).await.unwrap_err();
    // The gateway answers 100 ms before the deadline. On a busy machine it may be late.
    for _ in 0..4 {
        if status.code() == Code::Cancelled {
            slow.started.recv().await.unwrap();
            status = world.patient_call(with("auto", Some(ENOUGH))).await.unwrap_err();
        }
    }
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::DeadlineExceeded, "STILL_RUNNING")
    );
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
    let ticket = operation_in(&status);
    assert!(!ticket.done);
    assert_eq!(status.metadata().get("qb-operation").unwrap(), ticket.name.as_str());
    slow.started.recv().await.unwrap();
    slow.end.notify_one();
    let mut operations = OperationsClient::new(world.channel.clone());
    let wait = WaitOperationRequest { name: ticket.name, timeout: None };
    let done = operations.wait_operation(wait).await.unwrap().into_inner();
    assert!(matches!(done.result, Some(operation::Result::Response(_))), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_within_the_budget_is_an_ordinary_answer() {
    let slow = slow();
    let world = World::script(slow.script, modes(&[Mode::Auto])).await;
    slow.end.notify_one();
    let mut answer = world.call(RUN, with("auto", None)).await.unwrap().into_inner();
    assert_eq!(answer.message().await.unwrap().unwrap(), "done");
    assert_eq!(answer.message().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_wait_gets_the_job_at_once() {
    let mut slow = slow();
    let world = World::script(slow.script, modes(&[Mode::Sync, Mode::Async])).await;
    let answer = world.call(RUN, with("async", None)).await.unwrap();
    let id = answer.metadata().get("qb-job-id").unwrap().to_str().unwrap().to_owned();
    let name = format!("operations/{id}");
    assert_eq!(answer.metadata().get("qb-operation").unwrap(), name.as_str());
    assert_eq!(answer.into_inner().message().await.unwrap().unwrap(), "");
    slow.started.recv().await.unwrap();
    slow.end.notify_one();
    let job = finished(&world, &id).await;
    let Some(job::Outcome::Response(answer)) = job.outcome else { panic!("{job:?}") };
    assert_eq!(answer.message, "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_that_the_route_does_not_have_is_refused() {
    let world = World::script(slow().script, modes(&[Mode::Sync])).await;
    for mode in ["async", "auto", "soon"] {
        let status = world.call(RUN, with(mode, None)).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::InvalidArgument, "INVALID_FIELD")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_cancels_its_job_or_lets_it_finish() {
    let mut slow_one = slow();
    let world = World::script(slow_one.script, modes(&[Mode::Sync])).await;
    {
        let mut calling = std::pin::pin!(world.call(RUN, with("sync", None)));
        tokio::select! {
            answer = &mut calling => panic!("{answer:?}"),
            started = slow_one.started.recv() => started.unwrap(),
        }
    }
    timeout(PATIENCE, slow_one.cancelled.recv()).await.unwrap().unwrap();

    let mut slow_two = slow();
    let calls = CallConfig { when_abandoned: Some(Abandoned::Finish), ..modes(&[Mode::Sync]) };
    let world = World::script(slow_two.script, calls).await;
    {
        let mut calling = std::pin::pin!(world.call(RUN, with("sync", None)));
        tokio::select! {
            answer = &mut calling => panic!("{answer:?}"),
            started = slow_two.started.recv() => started.unwrap(),
        }
    }
    slow_two.end.notify_one();
    // It ends, and is the only one that was started.
    drop(world.call(RUN, with("sync", Some(Duration::from_millis(300)))).await);
    assert!(slow_two.cancelled.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_job_with_the_call() {
    let mut slow = slow();
    let world = World::script(slow.script, modes(&[Mode::Sync])).await;
    let call = world.patient_call(with("sync", Some(ENOUGH)));
    let status = call.await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    // Whoever notices it first: the worker, whose job has expired, or the gateway.
    assert!(["DEADLINE_PASSED", "JOB_EXPIRED"].contains(&reason(&status).as_str()), "{status:?}");
    slow.started.recv().await.unwrap();
    // The second call is served: nothing of the first is in its way.
    slow.end.notify_one();
    let mut answer = world.call(RUN, with("sync", None)).await.unwrap().into_inner();
    assert_eq!(answer.message().await.unwrap().unwrap(), "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_with_one_request_id_are_one_job() {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let count = Script::new(move |_| {
        let run = counted.fetch_add(1, Ordering::SeqCst);
        async move { Ok(Response::new(messages([if run == 0 { "first" } else { "again" }]))) }
    });
    let world = World::script(count, CallConfig::default()).await;
    let call = |message| {
        let mut request = Request::new(one(message));
        request.metadata_mut().insert("qb-request-id", "order-17".parse().unwrap());
        world.call(RUN, request)
    };
    let answers = futures_util::future::join_all((0..5).map(|_| call("a"))).await;
    for answer in answers {
        let all: Vec<_> = answer.unwrap().into_inner().collect().await;
        assert_eq!(all.into_iter().map(Result::unwrap).collect::<Vec<_>>(), ["first"]);
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    let status = call("b").await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::AlreadyExists, "REQUEST_ID_REUSED")
    );
}

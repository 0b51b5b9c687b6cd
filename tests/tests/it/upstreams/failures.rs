//! Servers that are down, die, hang or speak something else, and callers who leave.

use super::house::{patient, to};
use super::server::{body, call};
use super::{House, Upright};
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::StreamBody;
use queuebridge_demo::v1;
use queuebridge_gateway::upstream::CircuitBreaker;
use queuebridge_proto::error::reason;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt;

fn reason_of(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[track_caller]
fn unavailable(status: &Status) {
    let expected = (Code::Unavailable, reason::UPSTREAM_UNAVAILABLE);
    assert_eq!((status.code(), reason_of(status).as_str()), expected, "{status:?}");
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn echo() -> Request<Body> {
    Request::post("/queuebridge.demo.v1.Probe/Echo")
        .header("content-type", "application/grpc")
        .body(body([bytes::Bytes::from_static(&[0; 5])]))
        .unwrap()
}

fn forever() -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds: 900, nanos: 0 })
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_run_and_the_call_comes_back() {
    let address = nobody().await;
    let house = House::before(to(address));
    let status = house.client().await.echo(v1::EchoRequest::default()).await.unwrap_err();
    unavailable(&status);
    let not_run = to(address).attempt(echo()).await.unwrap_err();
    assert_eq!(not_run.request.unwrap().uri().path(), "/queuebridge.demo.v1.Probe/Echo");
}

#[tokio::test]
async fn after_failures_in_a_row_nothing_is_tried_for_a_moment() {
    let address = nobody().await;
    let upstream = patient(address, CircuitBreaker::new(2, Duration::from_secs(900)));
    for _ in 0..2 {
        let not_run = upstream.attempt(echo()).await.unwrap_err();
        assert!(not_run.status.message().contains("cannot be reached"), "{:?}", not_run.status);
    }
    // It would be there now, and is not asked.
    let _server = Upright::at(address, queuebridge_demo::routes().prepare());
    let not_run = upstream.attempt(echo()).await.unwrap_err();
    unavailable(&not_run.status);
    assert!(not_run.status.metadata().contains_key("grpc-retry-pushback-ms"));
    assert!(not_run.request.is_some());
}

#[tokio::test]
async fn a_server_that_was_killed_is_found_again() {
    let (house, server) = House::new();
    let mut client = house.client().await;
    client.echo(v1::EchoRequest::default()).await.unwrap();
    let address = server.address;
    server.kill();
    unavailable(&client.echo(v1::EchoRequest::default()).await.unwrap_err());
    let _server = Upright::at(address, queuebridge_demo::routes().prepare());
    client.echo(v1::EchoRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_call_in_hand_that_loses_its_server_may_have_run() {
    let (started, server) = stuck();
    let upstream = to(server.address);
    let calling = tokio::spawn(async move { upstream.attempt(echo()).await });
    started.begun.notified().await;
    server.kill();
    let answer = calling.await.unwrap().expect("it may have run");
    unavailable(&Status::from_header_map(answer.headers()).unwrap());
}

#[tokio::test]
async fn a_stream_that_loses_its_server_ends_with_a_status() {
    let (house, server) = House::new();
    let (say, said) = mpsc::channel(1);
    let mut answers =
        house.client().await.chat(ReceiverStream::new(said)).await.unwrap().into_inner();
    say.send(v1::ChatRequest::default()).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().number, 1);
    server.kill();
    unavailable(&answers.message().await.unwrap_err());
}

#[tokio::test]
async fn a_caller_who_leaves_is_noticed_at_the_upstream() {
    let (stuck, server) = stuck();
    let house = House::before(to(server.address));
    let mut client = house.client().await;
    let calling = tokio::spawn(async move { client.echo(v1::EchoRequest::default()).await });
    stuck.begun.notified().await;
    calling.abort();
    stuck.ended.notified().await;
    // The same in the middle of an answer.
    let ended = Arc::new(Notify::new());
    let end = ended.clone();
    let server = Upright::new(tower::service_fn(move |_: Request<Body>| {
        let ends = Ends(end.clone());
        async move {
            let first = http_body::Frame::data(bytes::Bytes::from_static(&[0; 5]));
            let frames = stream::iter([Ok::<_, Status>(first)]).chain(stream::pending());
            let frames = frames.inspect(move |_| {
                let _ = &ends;
            });
            let response = Response::builder().header("content-type", "application/grpc");
            Ok::<_, Infallible>(response.body(Body::new(StreamBody::new(frames))).unwrap())
        }
    }));
    let house = House::before(to(server.address));
    let mut counted =
        house.client().await.count(v1::CountRequest::default()).await.unwrap().into_inner();
    counted.message().await.unwrap().unwrap();
    drop(counted);
    ended.notified().await;
}

#[tokio::test]
async fn the_gateway_keeps_the_callers_deadline_when_nobody_else_does() {
    let (stuck, server) = stuck();
    let house = House::before(to(server.address));
    let request = echo_to(house.address(), "5S");
    let answer = call(house.address(), request).await;
    let status = Status::from_header_map(answer.headers()).unwrap();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(reason_of(&status), reason::UPSTREAM_TIMED_OUT);
    // And the upstream is told.
    stuck.ended.notified().await;
}

#[tokio::test]
async fn the_deadline_also_ends_a_stream() {
    let (house, _server) = House::new();
    let mut request = tonic::Request::new(v1::CountRequest { up_to: 2, pause: forever() });
    request.metadata_mut().insert("grpc-timeout", "5S".parse().unwrap());
    let mut counted = house.client().await.count(request).await.unwrap().into_inner();
    let status = counted.message().await.unwrap_err();
    assert_eq!(
        (status.code(), reason_of(&status).as_str()),
        (Code::DeadlineExceeded, reason::UPSTREAM_TIMED_OUT)
    );
}

#[tokio::test]
async fn what_is_no_answer_of_grpc_becomes_a_status() {
    for (http, content_type, code) in [
        (503, "text/html", Code::Unavailable),
        (404, "text/html", Code::Unimplemented),
        (403, "application/grpc", Code::PermissionDenied),
        (200, "text/html", Code::Unknown),
        (200, "application/grpc", Code::Unknown),
    ] {
        let server = Upright::new(tower::service_fn(move |_: Request<Body>| async move {
            let response = Response::builder().status(http).header("content-type", content_type);
            let frame = http_body::Frame::data(bytes::Bytes::from_static(&[0; 5]));
            let frames = stream::iter([Ok::<_, Status>(frame)]);
            Ok::<_, Infallible>(response.body(Body::new(StreamBody::new(frames))).unwrap())
        }));
        let house = House::before(to(server.address));
        let status = house.client().await.echo(v1::EchoRequest::default()).await.unwrap_err();
        assert_eq!(status.code(), code, "{http} {content_type}");
        assert_eq!(reason_of(&status), reason::UPSTREAM_NOT_GRPC);
    }
}

/// What happens at a server that never answers.
#[derive(Clone, Default)]
struct Stuck {
    begun: Arc<Notify>,
    ended: Arc<Notify>,
}

struct Ends(Arc<Notify>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

fn stuck() -> (Stuck, Upright) {
    let stuck = Stuck::default();
    let events = stuck.clone();
    let server = Upright::new(tower::service_fn(move |request: Request<Body>| {
        let ends = Ends(events.ended.clone());
        events.begun.notify_one();
        async move {
            let (_request, _ends) = (request, ends);
            std::future::pending::<Result<Response<Body>, Infallible>>().await
        }
    }));
    (stuck, server)
}

fn echo_to(address: SocketAddr, timeout: &str) -> Request<Body> {
    let mut request = echo();
    *request.uri_mut() =
        format!("http://{address}/queuebridge.demo.v1.Probe/Echo").parse().unwrap();
    request.headers_mut().insert("grpc-timeout", timeout.parse().unwrap());
    request
}

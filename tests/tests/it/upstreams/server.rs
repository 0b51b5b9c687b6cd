//! A gRPC server as an upstream: every kind of call, as if it were called directly.

use super::{House, Upright};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use queuebridge_demo::v1;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::body::Body;
use tonic_types::StatusExt;

#[tokio::test]
async fn metadata_and_trailers_pass_and_stay_apart() {
    let (house, server) = House::new();
    for address in [server.address, house.address()] {
        let frame = Bytes::from_static(&[0, 0, 0, 0, 0]);
        let request = Request::post(format!("http://{address}/queuebridge.demo.v1.Probe/Echo"))
            .header("content-type", "application/grpc+proto")
            .header("te", "trailers")
            .header("x-list", "one")
            .header("x-list", "two")
            .header("x-raw-bin", "AP8K")
            .body(body([frame]))
            .unwrap();
        let (head, body) = call(address, request).await.into_parts();
        assert_eq!(head.status, 200);
        let list: Vec<_> = head.headers.get_all("x-list").iter().collect();
        assert_eq!(list, ["one", "two"]);
        assert_eq!(head.headers["x-raw-bin"], "AP8K");
        assert!(!head.headers.contains_key("grpc-status"));
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().cloned().unwrap();
        assert_eq!(collected.to_bytes(), Bytes::from_static(&[0; 5]));
        assert_eq!(
            (&trailers["grpc-status"], &trailers["probe-trailer"]),
            (&http::HeaderValue::from_static("0"), &http::HeaderValue::from_static("done"))
        );
        assert!(trailers.contains_key("probe-trailer-bin"));
    }
}

#[tokio::test]
async fn a_status_keeps_its_text_details_and_trailers() {
    let (house, _server) = House::new();
    let mut client = house.client().await;
    for code in 1..=16 {
        let message = "odd: %\u{e4} \u{1f600}\t".to_owned();
        let request = v1::FailRequest { code, message, reason: "MADE_UP".into() };
        let status = client.fail(request).await.unwrap_err();
        assert_eq!(status.code() as i32, code);
        assert_eq!(status.message(), "odd: %\u{e4} \u{1f600}\t");
        assert_eq!(status.get_details_error_info().unwrap().reason, "MADE_UP");
        assert_eq!(status.metadata().get("probe-trailer").unwrap(), "done");
    }
}

#[tokio::test]
async fn large_messages_pass_in_both_directions() {
    let (house, _server) = House::new();
    let payload: Bytes = (0..20_000_000u32).map(|n| n.to_le_bytes()[0]).collect::<Vec<_>>().into();
    let request = v1::EchoRequest { payload: payload.clone(), ..Default::default() };
    let echoed = house.client().await.max_encoding_message_size(usize::MAX).echo(request).await;
    assert!(echoed.unwrap().into_inner().payload == payload);
}

#[tokio::test]
async fn every_kind_of_stream_passes() {
    let (house, _server) = House::new();
    let mut client = house.client().await;
    let request = v1::CountRequest { up_to: 10_000, pause: None };
    let counted = client.count(request).await.unwrap().into_inner();
    let counted: Vec<u32> = counted.map(|count| count.unwrap().number).collect().await;
    assert!(counted.iter().copied().eq(1..=10_000));
    let numbers = (1..=10_000).map(|number| v1::SumRequest { number });
    let sum = client.sum(stream::iter(numbers)).await.unwrap().into_inner();
    assert_eq!((sum.sum, sum.numbers), (50_005_000, 10_000));
    // No message at all, either way.
    let sum = client.sum(stream::empty()).await.unwrap().into_inner();
    assert_eq!((sum.sum, sum.numbers), (0, 0));
    let request = v1::CountRequest { up_to: 0, pause: None };
    let mut none = client.count(request).await.unwrap().into_inner();
    assert!(none.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_conversation_passes_message_by_message() {
    let (house, _server) = House::new();
    let (say, said) = mpsc::channel(1);
    let mut answers =
        house.client().await.chat(ReceiverStream::new(said)).await.unwrap().into_inner();
    for number in 1..=100u32 {
        let payload = Bytes::copy_from_slice(&number.to_be_bytes());
        say.send(v1::ChatRequest { payload: payload.clone() }).await.unwrap();
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!((answer.payload, answer.number), (payload, number));
    }
    drop(say);
    assert!(answers.message().await.unwrap().is_none());
    assert_eq!(answers.trailers().await.unwrap().unwrap().get("probe-trailer"), None);
}

#[tokio::test]
async fn the_first_message_comes_before_the_handler_ends() {
    let (house, _server) = House::new();
    let request = v1::CountRequest {
        up_to: 2,
        pause: Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 }),
    };
    let mut counted = house.client().await.count(request).await.unwrap().into_inner();
    assert_eq!(counted.message().await.unwrap().unwrap().number, 1);
    // The caller loses interest; nothing hangs.
    drop(counted);
}

/// A server whose answer nobody reads is stopped after what the windows hold.
#[tokio::test]
async fn a_slow_caller_slows_the_upstream() {
    let sent = Arc::new(Mutex::new(0usize));
    let count = sent.clone();
    let endless = Upright::new(tower::service_fn(move |_: Request<Body>| {
        let count = count.clone();
        async move {
            let chunks = stream::repeat_with(move || {
                *count.lock().unwrap() += 16 * 1024;
                Ok::<_, Status>(http_body::Frame::data(Bytes::from_static(&[0; 16 * 1024])))
            });
            let response = Response::builder().header("content-type", "application/grpc");
            Ok::<_, Infallible>(response.body(Body::new(StreamBody::new(chunks))).unwrap())
        }
    }));
    let house = House::before(super::house::to(endless.address));
    let uri = format!("http://{}/a.B/C", house.address());
    let request = Request::post(uri).header("content-type", "application/grpc");
    let response = call(house.address(), request.body(body([])).unwrap()).await;
    // The head is there, and nobody reads the body. What was sent settles.
    let mut before = usize::MAX;
    while *sent.lock().unwrap() != before {
        before = *sent.lock().unwrap();
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    }
    assert!(before < 8 * 1024 * 1024, "{before} bytes for nobody");
    drop(response);
}

#[tokio::test]
async fn compressed_messages_pass_as_they_are() {
    let seen = Arc::new(Mutex::new(None));
    let see = seen.clone();
    let server = Upright::new(tower::service_fn(move |request: Request<Body>| {
        let see = see.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            *see.lock().unwrap() = Some((head.headers, body.clone()));
            let response = Response::builder().header("content-type", "application/grpc");
            let response = response.header("grpc-encoding", "gzip");
            let trailers = http::HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-status"),
                http::HeaderValue::from_static("0"),
            )]);
            let frames = [http_body::Frame::data(body), http_body::Frame::trailers(trailers)];
            let frames = stream::iter(frames.map(Ok::<_, Status>));
            Ok::<_, Infallible>(response.body(Body::new(StreamBody::new(frames))).unwrap())
        }
    }));
    let house = House::before(super::house::to(server.address));
    // The flag says compressed; that it is no gzip is nobody's business on the way.
    let mut frame = BytesMut::from(&[1u8, 0, 0, 0, 3][..]);
    frame.put_slice(b"abc");
    let request = Request::post(format!("http://{}/a.B/C", house.address()))
        .header("content-type", "application/grpc")
        .header("grpc-encoding", "gzip")
        .header("grpc-accept-encoding", "gzip,zstd")
        .header("grpc-timeout", "10S");
    let answer = call(house.address(), request.body(body([frame.freeze()])).unwrap()).await;
    assert_eq!(answer.headers()["grpc-encoding"], "gzip");
    let answer = answer.into_body().collect().await.unwrap().to_bytes();
    let (headers, body) = seen.lock().unwrap().take().unwrap();
    assert_eq!((&answer[..], &body[..]), (&b"\x01\0\0\0\x03abc"[..], &b"\x01\0\0\0\x03abc"[..]));
    assert_eq!(headers["grpc-encoding"], "gzip");
    assert_eq!(headers["grpc-accept-encoding"], "gzip,zstd");
    assert_eq!(
        (&headers["grpc-timeout"], &headers["te"]),
        (&http::HeaderValue::from_static("10S"), &http::HeaderValue::from_static("trailers"))
    );
}

/// A body of these frames.
pub(super) fn body<const N: usize>(frames: [Bytes; N]) -> Body {
    let frames = frames.map(|data| Ok::<_, Status>(http_body::Frame::data(data)));
    Body::new(StreamBody::new(stream::iter(frames)))
}

/// One call without any library of gRPC.
pub(super) async fn call(
    address: SocketAddr,
    request: Request<Body>,
) -> Response<hyper::body::Incoming> {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}

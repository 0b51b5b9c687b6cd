//! Compressed requests in every protocol, in front of services that answer what they are sent.

use super::codec::tests::deflated;
use crate::inflate::codec::Codec;
use crate::{Limits, Web};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use std::convert::Infallible;
use tonic::Status;
use tonic::body::Body;
use tower::service_fn;

const METHOD: &str = "/a.B/Call";

/// Answers a call with what it has sent.
async fn echo(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    assert!(!request.headers().contains_key("grpc-encoding"), "{:?}", request.headers());
    let mut response = match request.into_body().collect().await {
        Ok(body) => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            let frames = [Frame::data(body.to_bytes()), Frame::trailers(trailers)];
            let frames = futures_util::stream::iter(frames.map(Ok::<_, Status>));
            Response::new(Body::new(StreamBody::new(frames)))
        }
        Err(error) => Status::from_error(Box::new(error)).into_http(),
    };
    let native = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", native);
    Ok(response)
}

async fn send(headers: &[(&str, &str)], body: Vec<u8>) -> (StatusCode, HeaderMap, Bytes) {
    let mut request = Request::post(METHOD);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let response = Web::over(service_fn(echo), None).call(request, Limits::default()).await;
    let (parts, body) = response.into_parts();
    (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag][..], &length, message].concat()
}

/// A message in two members, of which the first is empty.
fn members(codec: Codec) -> Vec<u8> {
    [deflated(codec, b""), deflated(codec, b"\x0a\x05hello")].concat()
}

fn broken(codec: Codec) -> Vec<u8> {
    [deflated(codec, b"\x0a\x05hello"), b"more".to_vec()].concat()
}

fn grpc_status(headers: &HeaderMap, body: &Bytes) -> String {
    let text = String::from_utf8_lossy(body);
    let in_body = text.split("grpc-status:").nth(1).map(|rest| rest.lines().next().unwrap_or(""));
    let in_head = headers.get("grpc-status").map(|value| value.to_str().unwrap());
    in_head.or(in_body).unwrap_or("none").trim().to_owned()
}

#[tokio::test]
async fn grpc_web_and_bridged_grpc_read_all_members() {
    for codec in [Codec::Gzip, Codec::Zstd] {
        for kind in ["application/grpc-web+proto", "application/grpc"] {
            let headers = [("content-type", kind), ("grpc-encoding", codec.name())];
            let (_, head, body) = send(&headers, framed(1, &members(codec))).await;
            assert!(body.starts_with(b"\0\0\0\0\x07\x0a\x05hello"), "{kind} {codec:?} {body:?}");
            assert_eq!(grpc_status(&head, &body), "0", "{kind} {codec:?}");
            let (_, head, body) = send(&headers, framed(1, &broken(codec))).await;
            assert_eq!(grpc_status(&head, &body), "3", "{kind} {codec:?} {body:?}");
        }
    }
}

#[tokio::test]
async fn another_encoding_is_refused_with_those_that_are_read() {
    let headers = [("content-type", "application/grpc-web+proto"), ("grpc-encoding", "snappy")];
    let (_, head, body) = send(&headers, framed(1, b"x")).await;
    assert_eq!(grpc_status(&head, &body), "12");
    let all = format!("{head:?}{}", String::from_utf8_lossy(&body));
    assert!(all.contains("identity,gzip,zstd"), "{all}");
}

#[tokio::test]
async fn connect_reads_all_members_and_answers_in_what_is_accepted() {
    for codec in [Codec::Gzip, Codec::Zstd] {
        let unary = [
            ("content-type", "application/proto"),
            ("content-encoding", codec.name()),
            ("accept-encoding", codec.name()),
        ];
        let (status, _, body) = send(&unary, members(codec)).await;
        assert_eq!((status, &body[..]), (StatusCode::OK, &b"\x0a\x05hello"[..]), "{codec:?}");
        let (status, _, body) = send(&unary, broken(codec)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{codec:?}");
        assert!(body.windows(16).any(|part| part == b"invalid_argument"), "{body:?}");
        let large = vec![b'x'; 100_000];
        let large = [&b"\x0a\xa0\x8d\x06"[..], &large].concat();
        let (_, head, body) = send(&unary, deflated(codec, &large)).await;
        assert_eq!(head["content-encoding"], codec.name());
        assert_eq!(codec.inflate(&body, 200_000).unwrap(), large);
    }
}

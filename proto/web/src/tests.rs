//! Trailing metadata, which the services know only at the end, in every protocol.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use futures_util::stream;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::{Value, json};
use tower::service_fn;

const UNARY: &str = "/queuebridge.v1.Jobs/GetResult";
const STREAM: &str = "/queuebridge.v1.Jobs/WatchResult";
/// Empty, which every type can be.
const MESSAGE: &[u8] = b"\0\0\0\0\0";

/// What the services do: answer so many messages, and end so.
#[derive(Clone, Copy)]
struct Script {
    messages: usize,
    code: &'static str,
    trailing: bool,
}

const GOOD: Script = Script { messages: 1, code: "0", trailing: true };

fn services(script: Script) -> impl Services {
    service_fn(move |_request: Request<Body>| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static(script.code));
        if script.trailing {
            trailers.insert("x-end", http::HeaderValue::from_static("done"));
            trailers.append("x-end", http::HeaderValue::from_static("twice"));
            trailers.insert("x-end-bin", http::HeaderValue::from_static("AP8"));
        }
        let messages = std::iter::repeat_with(move || Bytes::from_static(MESSAGE));
        let frames = messages.take(script.messages).map(Frame::data);
        let frames = frames.chain([Frame::trailers(trailers)]).map(Ok::<_, Status>);
        let mut response = Response::new(Body::new(StreamBody::new(stream::iter(frames))));
        let headers = response.headers_mut();
        headers.insert("content-type", http::HeaderValue::from_static("application/grpc"));
        headers.insert("x-begin", http::HeaderValue::from_static("now"));
        std::future::ready(Ok::<_, Infallible>(response))
    })
}

async fn send(script: Script, path: &str, kind: &str, body: &'static [u8]) -> (HeaderMap, Bytes) {
    let known = Descriptors::parse([queuebridge_proto::FILE_DESCRIPTOR_SET]).unwrap();
    let web = Web::over(services(script), Some(Arc::new(known)));
    let request = Request::post(path).header("content-type", kind);
    let request = request.header("accept", kind);
    let request = request.body(Full::new(Bytes::from_static(body))).unwrap();
    let response = web.call(request, Limits::default()).await;
    let (parts, body) = response.into_parts();
    (parts.headers, body.collect().await.unwrap().to_bytes())
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

/// The frames of a body: flags and data.
fn frames(mut body: Bytes) -> Vec<(u8, Bytes)> {
    let mut frames = Vec::new();
    while !body.is_empty() {
        let (flags, len) = (body.get_u8(), body.get_u32());
        frames.push((flags, body.split_to(len as usize)));
    }
    frames
}

const METADATA: &str = r#"{"x-end":["done","twice"],"x-end-bin":["AP8"]}"#;

#[tokio::test]
async fn a_single_answer_of_connect_has_them_as_headers() {
    for (kind, empty) in [("application/proto", &b""[..]), ("application/json", b"{}")] {
        for code in ["0", "5"] {
            let (headers, _) = send(Script { code, ..GOOD }, UNARY, kind, empty).await;
            assert_eq!(all(&headers, "trailer-x-end"), ["done", "twice"], "{kind} {headers:?}");
            assert_eq!(all(&headers, "trailer-x-end-bin"), ["AP8"], "{kind}");
            assert_eq!(all(&headers, "x-begin"), ["now"], "{kind}");
        }
    }
}

#[tokio::test]
async fn a_stream_of_connect_has_them_in_its_last_frame() {
    for (kind, request) in [
        ("application/connect+proto", &b"\0\0\0\0\0"[..]),
        ("application/connect+json", b"\0\0\0\0\x02{}"),
    ] {
        // 0 messages, and more than the library gathers in one piece.
        for messages in [0, 1, 5_000] {
            for code in ["0", "10"] {
                let script = Script { messages, code, trailing: true };
                let (_, body) = send(script, STREAM, kind, request).await;
                let frames = frames(body);
                assert_eq!(frames.len(), messages + 1, "{kind}");
                let (flags, end) = frames.last().unwrap();
                let end: Value = serde_json::from_slice(end).unwrap();
                let expected: Value = serde_json::from_str(METADATA).unwrap();
                assert_eq!((*flags, &end["metadata"]), (2, &expected), "{kind} {end}");
                assert_eq!(end["error"]["code"] == "aborted", code == "10", "{end}");
            }
        }
    }
}

#[tokio::test]
async fn a_stream_without_them_ends_as_the_library_ends_it() {
    let script = Script { trailing: false, ..GOOD };
    let (_, body) = send(script, STREAM, "application/connect+proto", b"\0\0\0\0\0").await;
    let end = frames(body).pop().unwrap();
    assert_eq!((end.0, serde_json::from_slice::<Value>(&end.1).unwrap()), (2, json!({})));
}

#[tokio::test]
async fn grpc_web_has_them_in_its_trailer_frame() {
    for (path, messages) in [(UNARY, 1), (STREAM, 0), (STREAM, 300)] {
        for code in ["0", "9"] {
            let script = Script { messages, code, trailing: true };
            let kind = "application/grpc-web+proto";
            let (_, binary) = send(script, path, kind, b"\0\0\0\0\0").await;
            let kind = "application/grpc-web-text+proto";
            let (_, text) = send(script, path, kind, b"AAAAAAA=").await;
            // Each part may be encoded, and padded, for itself.
            let quanta = text.chunks(4).flat_map(|four| STANDARD.decode(four).unwrap());
            for body in [binary, quanta.collect()] {
                let frames = frames(body);
                assert_eq!(frames.len(), messages + 1);
                let (flags, trailers) = frames.last().unwrap();
                let trailers = std::str::from_utf8(trailers).unwrap().replace(": ", ":");
                assert_eq!(*flags, 0x80);
                let lines = ["x-end:done", "x-end:twice", "x-end-bin:AP8"];
                let status = format!("grpc-status:{code}");
                for line in lines.into_iter().chain([status.as_str()]) {
                    assert!(trailers.lines().any(|l| l == line), "{line} in {trailers}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused_where_it_is_collected() {
    for (kind, name, expected) in
        [("application/grpc", "grpc-status", "8"), ("application/proto", "content-type", "")]
    {
        let web = Web::over(services(GOOD), None).max_request_bytes(10);
        let request = Request::post(UNARY).header("content-type", kind);
        let request = request.body(Full::new(Bytes::from_static(&[8; 64]))).unwrap();
        let response = web.call(request, Limits::default()).await;
        match expected {
            "" => assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS),
            code => assert_eq!(response.headers()[name], code),
        }
    }
}

#[tokio::test]
async fn a_bridge_has_them_among_its_headers_and_leaves_a_stream_at_its_second_message() {
    let (headers, body) = send(GOOD, UNARY, "application/grpc", MESSAGE).await;
    assert_eq!((all(&headers, "x-end"), &body[..]), (vec!["done", "twice"], MESSAGE));
    let endless = Script { messages: usize::MAX, ..GOOD };
    let (headers, body) = send(endless, STREAM, "application/grpc", MESSAGE).await;
    assert_eq!((&headers["grpc-status"], body.len()), (&"12".parse().unwrap(), 0));
}

#[tokio::test]
async fn a_request_that_breaks_off_is_not_taken_for_a_whole_one() {
    let services = service_fn(|request: Request<Body>| async {
        let status = match request.into_body().collect().await {
            Ok(_) => Status::ok("it has come to its end"),
            Err(status) => status,
        };
        Ok::<_, Infallible>(status.into_http())
    });
    let known = Descriptors::parse([queuebridge_proto::FILE_DESCRIPTOR_SET]).unwrap();
    let web = Web::over(services, Some(Arc::new(known)));
    let pieces = [
        Ok(Frame::data(Bytes::from_static(MESSAGE))),
        Ok(Frame::data(Bytes::from_static(MESSAGE))),
        Err(Status::resource_exhausted("no room")),
    ];
    let request = Request::post("/queuebridge.v1.Jobs/SubmitStream");
    let request = request.header("content-type", "application/connect+proto");
    let request = request.body(StreamBody::new(stream::iter(pieces))).unwrap();
    let (_, body) = web.call(request, Limits::default()).await.into_parts();
    let (flags, end) = frames(body.collect().await.unwrap().to_bytes()).pop().unwrap();
    let end: Value = serde_json::from_slice(&end).unwrap();
    assert!(flags == 2 && end["error"]["message"].to_string().contains("no room"), "{end}");
}

#[tokio::test]
async fn a_request_may_have_no_message() {
    let bidirectional = "/queuebridge.v1.Jobs/SubmitStream";
    let (_, body) = send(GOOD, bidirectional, "application/connect+proto", b"").await;
    assert_eq!(frames(body).len(), 2);
}

#[tokio::test]
async fn a_refusal_is_the_same_for_methods_of_every_kind_and_for_none() {
    let known = Arc::new(Descriptors::parse([queuebridge_proto::FILE_DESCRIPTOR_SET]).unwrap());
    let web = Web::over(services(GOOD), Some(known));
    let bidirectional = "/queuebridge.v1.Jobs/SubmitStream";
    for kind in [
        "application/proto",
        "application/json",
        "application/connect+proto",
        "application/connect+json",
        "application/grpc-web",
        "GET",
    ] {
        let mut told = Vec::new();
        for path in [UNARY, STREAM, bidirectional, "/no.Such/Method"] {
            let request = match kind {
                "GET" => Request::get(format!("{path}?encoding=json&message=%7B")),
                kind => Request::post(path).header("content-type", kind),
            };
            let request = request.body(()).unwrap();
            let response = web.refuse(request, Status::unauthenticated("who is it")).await;
            let (head, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let text =
                format!("{} {:?} {}", head.status, head.headers, String::from_utf8_lossy(&body));
            assert!(
                text.contains("who is it") || text.contains("who%20is%20it"),
                "{path} {kind} {text}"
            );
            told.push(text);
        }
        assert!(told.iter().all(|text| *text == told[0]), "{kind} {told:#?}");
    }
}

#[tokio::test]
async fn content_types_are_read_whatever_their_case_and_parameters() {
    for (kind, body) in [
        ("application/grpc-web+proto; charset=utf-8", &b"\0\0\0\0\0"[..]),
        ("Application/GRPC-Web", b"\0\0\0\0\0"),
        // In two pieces, padded each.
        ("application/grpc-web-text;charset=utf-8", b"AAA=AAA="),
        ("APPLICATION/GRPC", b"\0\0\0\0\0"),
        ("Application/Proto; v=1", b""),
        ("APPLICATION/JSON;charset=UTF-8", b"{}"),
    ] {
        let (headers, answer) = send(GOOD, UNARY, kind, body).await;
        let (_, expected) = kind.split_once('/').unwrap();
        let expected = expected.split(';').next().unwrap().to_lowercase();
        let answered = media_type(&headers);
        assert!(answered.contains(&expected), "{kind} {headers:?}");
        assert!(!answered.contains("web") || !answer.is_empty(), "{kind}");
        assert_eq!(headers["x-begin"], "now", "{kind} {headers:?}");
    }
}

#[tokio::test]
async fn other_codecs_are_refused_in_the_protocol_of_the_call() {
    for kind in
        ["application/grpc+json", "application/grpc-web+json", "Application/gRPC-Web-Text+X"]
    {
        let (headers, body) = send(GOOD, UNARY, kind, MESSAGE).await;
        assert_eq!((&headers["grpc-status"], body.len()), (&"12".parse().unwrap(), 0), "{kind}");
        let protocol = kind.split('+').next().unwrap().to_lowercase();
        assert!(media_type(&headers).starts_with(&protocol), "{kind} {headers:?}");
    }
    for kind in ["application/grpcx", "text/plain"] {
        let web = Web::over(services(GOOD), None);
        let request = Request::post(UNARY).header("content-type", kind).body(Body::empty());
        let response = web.call(request.unwrap(), Limits::default()).await;
        assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
}

#[tokio::test]
async fn nothing_but_post_is_a_call() {
    for kind in ["application/grpc", "application/grpc-web", "application/proto", "text/html"] {
        for (verb, path) in
            [("PUT", UNARY), ("DELETE", UNARY), ("PATCH", "/"), ("GET", UNARY), ("HEAD", UNARY)]
        {
            for version in [http::Version::HTTP_11, http::Version::HTTP_2] {
                let web = Web::over(services(GOOD), None);
                let request = Request::builder().method(verb).uri(path).version(version);
                let request = request.header("content-type", kind).body(Body::empty()).unwrap();
                let response = web.serve(request, Limits::default()).await;
                assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{verb} {kind}");
                assert_eq!(response.headers()["allow"], "POST", "{verb} {kind}");
            }
        }
    }
}

//! What is on the wire: headers, frames and trailers.

use super::*;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use prost::Message;
use tonic::codegen::{Service, http};

const INITIAL: &str = "x-grpc-test-echo-initial";
const TRAILING: &str = "x-grpc-test-echo-trailing-bin";

/// The headers, the data and the trailers of a call with one request.
async fn call(
    method: &str,
    request: impl Message,
) -> (http::HeaderMap, Bytes, Option<http::HeaderMap>) {
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let frame = [&[0][..], &length, &message].concat();
    let request = http::Request::post(format!("/grpc.testing.TestService/{method}"))
        .header("content-type", "application/grpc")
        .header("grpc-accept-encoding", "identity, deflate, gzip")
        .header(INITIAL, "test_initial_metadata_value")
        .header(TRAILING, "q6ur")
        .body(Full::new(Bytes::from(frame)))
        .unwrap();
    let response = routes(Clock::system()).call(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned();
    (head.headers, body.to_bytes(), trailers)
}

#[tokio::test]
async fn initial_and_trailing_metadata_come_at_their_ends_of_every_call() {
    for method in [
        "EmptyCall",
        "UnaryCall",
        "CacheableUnaryCall",
        "StreamingInputCall",
        "StreamingOutputCall",
        "FullDuplexCall",
        "HalfDuplexCall",
    ] {
        let (headers, _, trailers) = call(method, Empty {}).await;
        let trailers = trailers.unwrap();
        assert_eq!(headers[INITIAL], "test_initial_metadata_value", "{method}");
        assert_eq!(trailers[TRAILING], "q6ur", "{method}");
        assert!(!headers.contains_key(TRAILING) && !trailers.contains_key(INITIAL), "{method}");
        assert_eq!(trailers["grpc-status"], "0");
    }
}

#[tokio::test]
async fn trailing_metadata_comes_with_an_error_too() {
    let response_status = Some(EchoStatus { code: 2, message: "no".to_owned() });
    let request = SimpleRequest { response_status: response_status.clone(), ..Default::default() };
    // All that is said is in the headers then.
    let (headers, _, _) = call("UnaryCall", request).await;
    assert_eq!(headers["grpc-status"], "2");
    assert_eq!(headers[TRAILING], "q6ur");
    let request = StreamingOutputCallRequest { response_status, ..Default::default() };
    let (headers, _, trailers) = call("FullDuplexCall", request).await;
    let trailers = trailers.unwrap();
    assert_eq!(headers[INITIAL], "test_initial_metadata_value");
    assert_eq!(trailers["grpc-status"], "2");
    assert_eq!(trailers[TRAILING], "q6ur");
}

#[tokio::test]
async fn an_answer_is_compressed_when_that_is_asked_for() {
    for (wanted, expected) in [(Some(true), 1), (Some(false), 0), (None, 0)] {
        let response_compressed = wanted.map(|value| BoolValue { value });
        let request =
            SimpleRequest { response_compressed, response_size: 9_999, ..Default::default() };
        let (_, data, _) = call("UnaryCall", request).await;
        assert_eq!(data[0], expected, "{wanted:?}");
        assert_eq!(data.len() < 9_999, expected == 1, "{wanted:?}");
    }
    let (_, data, _) = call("StreamingOutputCall", sizes(&[9_999])).await;
    assert_eq!(data[0], 0);
}

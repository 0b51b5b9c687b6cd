//! Through the routes, as a worker calls them: no socket, all of tonic.

use super::*;
use crate::v1::probe_client::ProbeClient;
use std::time::Duration;
use tokio::time::Instant;
use tonic::service::Routes;
use tonic_types::StatusExt;

fn client() -> ProbeClient<Routes> {
    ProbeClient::new(crate::routes())
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn reason_of(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info().expect("an ErrorInfo");
    assert_eq!(info.domain, refusal::DOMAIN);
    info.reason.clone()
}

#[tokio::test]
async fn echo_returns_payload_and_metadata_and_sends_trailers() {
    let payload = bytes::Bytes::from_static(b"\x00\xffpayload");
    let mut request =
        Request::new(v1::EchoRequest { payload: payload.clone(), ..Default::default() });
    request.metadata_mut().append("x-list", MetadataValue::from_static("one"));
    request.metadata_mut().append("x-list", MetadataValue::from_static("two"));
    request.metadata_mut().insert("other", MetadataValue::from_static("kept back"));
    request.metadata_mut().insert_bin("x-raw-bin", MetadataValue::from_bytes(&[0, 255, 10]));

    let response = client().echo(request).await.unwrap();

    let list: Vec<_> = response.metadata().get_all("x-list").iter().collect();
    assert_eq!(list, ["one", "two"]);
    let raw = response.metadata().get_bin("x-raw-bin").unwrap().to_bytes().unwrap();
    assert_eq!(&raw[..], [0, 255, 10]);
    assert!(response.metadata().get("other").is_none());
    assert_eq!(response.metadata().get("probe-trailer").unwrap(), "done");
    let raw = response.metadata().get_bin("probe-trailer-bin").unwrap().to_bytes().unwrap();
    assert_eq!(&raw[..], [0x00, 0xff]);
    assert_eq!(response.into_inner().payload, payload);
}

#[tokio::test]
async fn trailers_are_trailers_and_not_headers() {
    use http_body::Body as _;
    use tonic::codegen::{Service, http};

    // An empty message in its frame: not compressed, no bytes.
    let body = tonic::body::Body::new(Whole(Some(bytes::Bytes::from_static(&[0; 5]))));
    let request = http::Request::post("/queuebridge.demo.v1.Probe/Echo")
        .header("content-type", "application/grpc")
        .header("x-key", "value")
        .body(body)
        .unwrap();
    let (head, mut body) = crate::routes().call(request).await.unwrap().into_parts();
    assert_eq!(head.headers["x-key"], "value");
    assert!(!head.headers.contains_key("probe-trailer"));
    let trailers = loop {
        let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await;
        match frame.expect("trailers before the end").unwrap().into_trailers() {
            Ok(trailers) => break trailers,
            Err(_data) => {}
        }
    };
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["probe-trailer"], "done");
    assert!(!trailers.contains_key("x-key"));
}

struct Whole(Option<bytes::Bytes>);

impl http_body::Body for Whole {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Status>>> {
        std::task::Poll::Ready(self.0.take().map(|data| Ok(http_body::Frame::data(data))))
    }
}

#[tokio::test]
async fn echo_answers_in_the_length_asked_for() {
    for (payload, response_bytes, expected) in
        [(&b"abc"[..], 7, &b"abcabca"[..]), (b"abc", 2, b"ab"), (b"", 2, b"\0\0"), (b"", 0, b"")]
    {
        let request = v1::EchoRequest { payload: payload.into(), response_bytes, delay: None };
        let response = client().echo(request).await.unwrap().into_inner();
        assert_eq!(&response.payload[..], expected);
    }
    let request = v1::EchoRequest { response_bytes: MAX_ECHO_BYTES + 1, ..Default::default() };
    let status = client().echo(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn fail_answers_with_every_code_but_ok() {
    for code in 1..=16 {
        let reason = if code == 5 { "" } else { "MADE_UP" };
        let request = v1::FailRequest { code, message: "as asked".into(), reason: reason.into() };
        let status = client().fail(request).await.unwrap_err();
        assert_eq!((status.code() as i32, status.message()), (code, "as asked"));
        assert_eq!(reason_of(&status), if code == 5 { "PROBE_FAILED" } else { "MADE_UP" });
        assert_eq!(status.metadata().get("probe-trailer").unwrap(), "done");
    }
    for code in [0, 17, -1] {
        let request = v1::FailRequest { code, ..Default::default() };
        let status = client().fail(request).await.unwrap_err();
        assert_eq!(
            (status.code(), reason_of(&status).as_str()),
            (Code::InvalidArgument, "INVALID_FIELD")
        );
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "code");
    }
}

#[tokio::test]
async fn panic_panics_with_the_text_asked_for() {
    let call = tokio::spawn(async {
        client().panic(v1::PanicRequest { message: "the text".into() }).await
    });
    let panic = call.await.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref::<String>().unwrap(), "the text");
}

#[tokio::test(start_paused = true)]
async fn sleep_waits_and_says_how_long() {
    let start = Instant::now();
    let slept = client().sleep(v1::SleepRequest { duration: seconds(90) }).await.unwrap();
    assert_eq!(slept.into_inner().slept, seconds(90));
    assert_eq!(start.elapsed(), Duration::from_secs(90));
    for duration in
        [seconds(-1), seconds(901), Some(prost_types::Duration { seconds: 0, nanos: -1 })]
    {
        let status = client().sleep(v1::SleepRequest { duration }).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{duration:?}");
    }
    assert_eq!(start.elapsed(), Duration::from_secs(90));
}

#[tokio::test]
async fn flaky_is_unavailable_as_often_as_asked() {
    let mut client = client();
    let request = |key: &str| v1::FlakyRequest { key: key.into(), failures: 2 };
    for _ in 0..2 {
        let status = client.flaky(request("a")).await.unwrap_err();
        assert_eq!(
            (status.code(), reason_of(&status).as_str()),
            (Code::Unavailable, "PROBE_FLAKY")
        );
    }
    assert_eq!(client.flaky(request("a")).await.unwrap().into_inner().calls, 3);
    assert_eq!(client.flaky(request("a")).await.unwrap().into_inner().calls, 4);
    assert_eq!(client.flaky(request("b")).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn append_adds_whole_lines() {
    let directory = tempfile::tempdir().unwrap();
    let mut client = ProbeClient::new(crate::routes_with_probe(directory.path()));
    for line in ["first", "second"] {
        let request = v1::AppendRequest { file: "runs".into(), line: line.into(), then_wait: None };
        client.append(request).await.unwrap();
    }
    let written = std::fs::read_to_string(directory.path().join("runs")).unwrap();
    assert_eq!(written, "first\nsecond\n");

    for (file, line, then_wait, field) in [
        ("runs", "two\nlines", None, "line"),
        ("../runs", "line", None, "file"),
        ("runs", "line", seconds(-1), "then_wait"),
    ] {
        let request = v1::AppendRequest { file: file.into(), line: line.into(), then_wait };
        let status = client.append(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
    let untouched = std::fs::read_to_string(directory.path().join("runs")).unwrap();
    assert_eq!(untouched, written);
}

#[tokio::test]
async fn append_needs_a_directory() {
    let request = v1::AppendRequest { file: "runs".into(), ..Default::default() };
    let status = client().append(request).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(reason_of(&status), "PROBE_HAS_NO_DIRECTORY");
}

#[tokio::test(start_paused = true)]
async fn streams_go_in_and_out() {
    let count = v1::CountRequest { up_to: 3, pause: seconds(2) };
    let begun = Instant::now();
    let mut numbers = client().count(count).await.unwrap().into_inner();
    for expected in 1..=3 {
        assert_eq!(numbers.message().await.unwrap().unwrap().number, expected);
    }
    assert!(numbers.message().await.unwrap().is_none());
    assert_eq!(begun.elapsed(), Duration::from_secs(6));

    let addends = [i64::MAX, 1, -5].map(|number| v1::SumRequest { number });
    let sum = client().sum(tokio_stream::iter(addends)).await.unwrap().into_inner();
    assert_eq!(sum, v1::SumResponse { sum: i64::MAX - 5, numbers: 3 });

    let said = ["a", "b"].map(|payload| v1::ChatRequest { payload: payload.into() });
    let mut heard = client().chat(tokio_stream::iter(said)).await.unwrap().into_inner();
    for (number, payload) in [(1, "a"), (2, "b")] {
        let expected = v1::ChatResponse { payload: payload.into(), number };
        assert_eq!(heard.message().await.unwrap(), Some(expected));
    }
    let far = v1::CountRequest { up_to: 100_001, pause: None };
    assert_eq!(client().count(far).await.unwrap_err().code(), Code::InvalidArgument);
}

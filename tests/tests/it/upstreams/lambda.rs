//! A Lambda function as an upstream: a native client of gRPC reaches the worker kit.

use super::House;
use super::invoke::{BUSY, Invoke, LATE, STRANGER};
use super::server::{body, call};
use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body_util::BodyExt;
use queuebridge_demo::v1;
use queuebridge_proto::error::reason;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_types::StatusExt;

fn reason_of(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[tokio::test]
async fn a_native_client_reaches_a_function_and_nothing_is_lost() {
    let invoke = Invoke::new().await;
    let house = House::before(invoke.worker().await);
    let address = house.address();
    let request = Request::post(format!("http://{address}/queuebridge.demo.v1.Probe/Echo"))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
        .header("x-one", "1")
        .header("x-raw-bin", "AP8K")
        .header("x-raw-bin", "AQ")
        .body(body([Bytes::from_static(&[0, 0, 0, 0, 3, 10, 1, 7])]))
        .unwrap();
    let (head, body) = call(address, request).await.into_parts();
    assert_eq!(head.headers["content-type"], "application/grpc+proto");
    assert_eq!(head.headers["x-one"], "1");
    assert_eq!(head.headers.get_all("x-raw-bin").iter().count(), 2);
    assert!(!head.headers.contains_key("probe-trailer"));
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap();
    assert_eq!(collected.to_bytes(), &[0, 0, 0, 0, 3, 10, 1, 7][..]);
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["probe-trailer"], "done");
    assert!(trailers.contains_key("probe-trailer-bin") && !trailers.contains_key("x-one"));

    let mut client = house.client().await;
    for code in 1..=16 {
        let message = "odd: %\u{e4} \u{1f600}".to_owned();
        let request = v1::FailRequest { code, message, reason: "MADE_UP".into() };
        let status = client.fail(request).await.unwrap_err();
        assert_eq!((status.code() as i32, status.message()), (code, "odd: %\u{e4} \u{1f600}"));
        assert_eq!(reason_of(&status), "MADE_UP");
        assert_eq!(status.metadata().get("probe-trailer").unwrap(), "done");
    }
    let status = client.panic(v1::PanicRequest { message: "secret".into() }).await.unwrap_err();
    assert_eq!(reason_of(&status), reason::HANDLER_PANICKED);
    // A large one, which comes as many frames.
    let payload = Bytes::from(vec![7; 3_000_000]);
    let request = v1::EchoRequest { payload: payload.clone(), ..Default::default() };
    assert!(client.echo(request).await.unwrap().into_inner().payload == payload);
}

#[tokio::test]
async fn streams_of_one_side_pass_whole_and_a_conversation_is_refused() {
    let invoke = Invoke::new().await;
    let house = House::before(invoke.worker().await);
    let mut client = house.client().await;
    let request = v1::CountRequest { up_to: 1000, pause: None };
    let counted = client.count(request).await.unwrap().into_inner();
    let counted: Vec<u32> = counted.map(|count| count.unwrap().number).collect().await;
    assert!(counted.iter().copied().eq(1..=1000));
    let numbers = (1..=1000).map(|number| v1::SumRequest { number });
    let sum = client.sum(stream::iter(numbers)).await.unwrap().into_inner();
    assert_eq!((sum.sum, sum.numbers), (500_500, 1000));
    let (say, said) = mpsc::channel(1);
    say.send(v1::ChatRequest::default()).await.unwrap();
    let status = client.chat(ReceiverStream::new(said)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(reason_of(&status), reason::UPSTREAM_HALF_DUPLEX);
}

#[tokio::test]
async fn the_callers_deadline_reaches_the_handler() {
    let invoke = Invoke::new().await;
    let house = House::before(invoke.worker().await);
    // A client without a clock of its own, and a wish to sleep for 900 s.
    let sleep = Bytes::from_static(&[0, 0, 0, 0, 5, 10, 3, 8, 132, 7]);
    let request =
        Request::post(format!("http://{}/queuebridge.demo.v1.Probe/Sleep", house.address()))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", "500m")
            .body(body([sleep]))
            .unwrap();
    let answer = call(house.address(), request).await;
    let status = Status::from_header_map(answer.headers()).unwrap();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    let mut client = house.client().await;
    // The one place is free again, because the worker has kept the time as well.
    client.echo(v1::EchoRequest::default()).await.unwrap();
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_never_cut() {
    let invoke = Invoke::new().await;
    let house = House::before(invoke.worker().await);
    let client = house.client().await;
    let mut client = client.max_encoding_message_size(usize::MAX);
    let payload = Bytes::from(vec![7; 5_000_000]);
    let request = v1::EchoRequest { payload, ..Default::default() };
    let status = client.echo(request).await.unwrap_err();
    assert_eq!(
        (status.code(), reason_of(&status).as_str()),
        (Code::ResourceExhausted, reason::PAYLOAD_TOO_LARGE)
    );
    let request = v1::EchoRequest { response_bytes: 5_000_000, ..Default::default() };
    let status = client.echo(request).await.unwrap_err();
    assert_eq!(
        (status.code(), reason_of(&status).as_str()),
        (Code::ResourceExhausted, reason::RESPONSE_TOO_LARGE)
    );
}

#[tokio::test]
async fn every_failure_of_an_invocation_has_its_status() {
    let invoke = Invoke::new().await;
    for (name, code, reason, not_run) in [
        (BUSY, Code::ResourceExhausted, reason::UPSTREAM_THROTTLED, true),
        ("nobody", Code::FailedPrecondition, reason::UPSTREAM_MISSING, true),
        (STRANGER, Code::Unknown, reason::UPSTREAM_NOT_GRPC, false),
        (LATE, Code::DeadlineExceeded, reason::UPSTREAM_TIMED_OUT, false),
    ] {
        let upstream = invoke.function(name).await;
        let echo = || {
            Request::post("/a.B/C")
                .header("content-type", "application/grpc")
                .body(body([Bytes::from_static(&[0; 5])]))
                .unwrap()
        };
        let attempt = upstream.attempt(echo()).await;
        if let Err(not_run) = &attempt {
            assert!(not_run.request.is_some(), "{name}");
        }
        assert_eq!(attempt.is_err(), not_run, "{name}");
        let answer = upstream.call(echo()).await;
        let status = Status::from_header_map(answer.headers()).unwrap();
        assert_eq!((status.code(), reason_of(&status).as_str()), (code, reason), "{name}");
        if name == BUSY {
            assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "3000");
        }
    }
}

//! What passes, through every door in every protocol.

use super::super::door::{Door, event, reply, streamed_reply};
use super::super::protocol::{Call, Protocol};
use super::super::{Reply, Request};
use super::{BUFFERED, Deployment, ECHO, LONG, SPOKEN, SUBMIT, get, job, send, submission, submit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, BytesMut};
use prost::Message as _;
use queuebridge_demo::v1;
use queuebridge_proto::v1::State;
use queuebridge_tests::events;
use queuebridge_tests::runtime_api::Answer;
use serde_json::json;
use std::time::Duration;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_submitted_waited_for_and_looked_up_through_every_door() {
    let deployment = Deployment::new().await;
    let _worker = deployment.worker().await;
    let buffered = deployment.function(&[]).await;
    let streaming = deployment.function(&[("QB_LAMBDA_INVOKE_MODE", "RESPONSE_STREAM")]).await;
    for door in BUFFERED.into_iter().chain([Door::UrlStream]) {
        let function = if door == Door::UrlStream { &streaming } else { &buffered };
        for protocol in SPOKEN {
            let reply = send(function, door, protocol.request(&submit(30)), LONG).await;
            let (id, state) = job(&protocol.outcome(&reply));
            assert_eq!(state, State::Succeeded, "{door:?} {protocol:?}");
            let reply = send(function, door, protocol.request(&get(&id, 0)), LONG).await;
            assert_eq!(job(&protocol.outcome(&reply)), (id, state), "{door:?} {protocol:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_the_services_own_methods_pass_with_metadata_errors_and_streams() {
    let deployment = Deployment::new().await;
    let _worker = deployment.worker().await;
    let function = deployment.function(&[]).await;
    let echo = v1::EchoRequest { payload: "hi".into(), ..Default::default() };
    let echo = (echo.encode_to_vec().into(), json!({"payload": "aGk="}));
    let echo = Call { method: ECHO, streaming: false, messages: vec![echo] };
    let fail = v1::FailRequest { code: 9, message: "not now".into(), reason: "CLOSED".into() };
    let json = json!({"code": 9, "message": "not now", "reason": "CLOSED"});
    let messages = vec![(fail.encode_to_vec().into(), json)];
    let fail = Call { method: "Fail", streaming: false, messages };
    let count = v1::CountRequest { up_to: 3, ..Default::default() };
    let messages = vec![(count.encode_to_vec().into(), json!({"upTo": 3}))];
    let count = Call { method: "Count", streaming: true, messages };
    for door in BUFFERED {
        for protocol in SPOKEN {
            let request = protocol.request(&echo).with("x-one", "a b");
            let reply = send(&function, door, request, LONG).await;
            let outcome = protocol.outcome(&reply);
            assert_eq!((outcome.code, outcome.messages.len()), (0, 1), "{door:?} {protocol:?}");
            assert_eq!(reply.header("x-one"), Some("a b"), "{door:?} {protocol:?}: {reply:?}");
            assert!(outcome.trailers.contains(&("probe-trailer".into(), "done".into())));

            let reply = send(&function, door, protocol.request(&fail), LONG).await;
            let outcome = protocol.outcome(&reply);
            assert_eq!((outcome.code, &*outcome.text), (9, "not now"), "{door:?} {protocol:?}");
            assert_eq!(outcome.details, ["google.rpc.ErrorInfo"], "{door:?} {protocol:?}");

            let reply = send(&function, door, protocol.request(&count), LONG).await;
            let outcome = protocol.outcome(&reply);
            assert_eq!((outcome.code, outcome.messages.len()), (0, 3), "{door:?} {protocol:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_before_a_method_is_taken_off_its_path() {
    let deployment = Deployment::new().await;
    let function = deployment.function(&[("QB_LAMBDA_BASE_PATH", "/api/v1")]).await;
    for door in BUFFERED {
        for protocol in SPOKEN {
            for (before, accepted) in [("/api/v1", true), ("", true), ("/api/v2", false)] {
                let mut request = protocol.request(&submit(0));
                request.path.insert_str(0, before);
                let reply = send(&function, door, request, LONG).await;
                let is_accepted = protocol.outcome(&reply).code == 0;
                assert_eq!(is_accepted, accepted, "{door:?} {protocol:?} {before}: {reply:?}");
            }
        }
    }
    // A named stage of an HTTP API stands before it.
    let mut request = Protocol::ConnectProto.request(&submit(0));
    request.path.insert_str(0, "/prod/api/v1");
    let mut event = event(Door::HttpApi, &request);
    event["requestContext"]["stage"] = json!("prod");
    let answer = function.invoke(event.to_string(), LONG).await.json();
    let outcome = Protocol::ConnectProto.outcome(&reply(Door::HttpApi, &answer));
    assert_eq!(outcome.code, 0, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_arrives_piece_by_piece_where_the_url_streams() {
    let deployment = Deployment::new().await;
    let _worker = deployment.worker().await;
    let mode = ("QB_LAMBDA_INVOKE_MODE", "RESPONSE_STREAM");
    let function = deployment.function(&[mode]).await;
    let pause = Some(prost_types::Duration { seconds: 0, nanos: 300_000_000 });
    let request = v1::CountRequest { up_to: 4, pause };
    let messages = vec![(request.encode_to_vec().into(), json!({}))];
    let call = Call { method: "Count", streaming: true, messages };
    let event = event(Door::UrlStream, &Protocol::GrpcWeb.request(&call));
    let mut invocation = function.begin(event.to_string(), LONG);
    let mut pieces = 0;
    while invocation.chunk().await.is_some() {
        pieces += 1;
    }
    let outcome = Protocol::GrpcWeb.outcome(&streamed_reply(&invocation.end().await));
    assert_eq!((outcome.code, outcome.messages.len()), (0, 4), "{outcome:?}");
    assert!(pieces >= 4, "head, messages and end came in {pieces} pieces");
}

/// The documented events, with a submission in them.
#[tokio::test(flavor = "multi_thread")]
async fn documented_events_are_requests() {
    let deployment = Deployment::new().await;
    let function = deployment.function(&[]).await;
    let message = submission(0).encode_to_vec();
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.put(&message[..]);
    for (name, door, protocol) in [
        ("alb.json", Door::Alb, Protocol::GrpcWeb),
        ("alb_multi_value.json", Door::AlbMultiValue, Protocol::GrpcWeb),
        ("http_api.json", Door::HttpApi, Protocol::ConnectProto),
        ("function_url.json", Door::Url, Protocol::ConnectProto),
    ] {
        let mut event = events::fixture(name);
        let path = if event["path"].is_string() { "path" } else { "rawPath" };
        event[path] = json!(SUBMIT);
        let body: &[u8] = if protocol == Protocol::GrpcWeb { &framed } else { &message };
        event["body"] = json!(STANDARD.encode(body));
        let answer = function.invoke(event.to_string(), LONG).await;
        let (_, state) = job(&protocol.outcome(&reply(door, &answer.json())));
        assert_eq!(state, State::Accepted, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_pass_is_told_what_does() {
    let deployment = Deployment::new().await;
    let function = deployment.function(&[]).await;
    for door in BUFFERED {
        for content_type in ["application/grpc", "application/grpc+proto"] {
            let request = Request::post(SUBMIT, content_type, vec![0; 5]).with("te", "trailers");
            let Reply { status, headers, body } = send(&function, door, request, LONG).await;
            let reply = Reply { status, headers, body };
            assert_eq!((reply.status, reply.body.len()), (200, 0), "{door:?} {reply:?}");
            assert_eq!(reply.header("content-type"), Some("application/grpc"), "{reply:?}");
            assert_eq!(reply.header("grpc-status"), Some("12"), "{reply:?}");
            assert!(reply.header("grpc-message").unwrap().contains("Connect"), "{reply:?}");
        }
        for path in ["/", "/healthz"] {
            let reply = send(&function, door, Request::get(path), LONG).await;
            assert_eq!((reply.status, &reply.body[..]), (200, &b"ok\n"[..]), "{door:?}");
        }
        let check = "/grpc.health.v1.Health/Check";
        let request = Request::post(check, "application/json", "{}");
        let reply = send(&function, door, request, LONG).await;
        let said: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(said["status"], "SERVING", "{door:?} {reply:?}");
    }
    let time = Duration::from_secs(10);
    for wrong in [json!({}), json!({"Records": [{"messageId": "1", "eventSource": "aws:sqs"}]})] {
        let answer = function.invoke(wrong.to_string(), time).await;
        let Answer::Error(error) = answer else { panic!("{answer:?}") };
        assert!(String::from_utf8_lossy(&error.body).contains("Function URL"), "{error:?}");
    }
    let outcome = Protocol::ConnectJson.outcome(
        &send(&function, Door::Url, Protocol::ConnectJson.request(&get("x", 0)), LONG).await,
    );
    assert_eq!(outcome.code, Code::InvalidArgument as i32, "{outcome:?}");
}

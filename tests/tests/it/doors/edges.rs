//! What every door has to get right besides the calls themselves.

use super::door::{DOORS, Door, House, event};
use super::protocol::{Call, Message, Outcome, Protocol};
use super::{Reply, Request};
use prost::Message as _;
use queuebridge_demo::v1;
use queuebridge_tests::runtime_api::Answer;
use serde_json::json;
use std::time::Duration;
use tonic::Code;

const SPOKEN: [Protocol; 3] = [Protocol::GrpcWeb, Protocol::ConnectProto, Protocol::BridgeFramed];

fn unary(method: &'static str, message: &impl prost::Message) -> Call {
    let messages = vec![(message.encode_to_vec().into(), json!({}))];
    Call { method, streaming: false, messages }
}

async fn send(house: &House, door: Door, protocol: Protocol, call: &Call) -> Outcome {
    protocol.outcome(&house.send(door, protocol.request(call)).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_pass_both_ways() {
    let house = House::new().await;
    for door in DOORS {
        for protocol in SPOKEN {
            let call = unary("Echo", &v1::EchoRequest::default());
            let request = protocol.request(&call).with("x-raw-bin", "AP8K").with("x-one", "a b");
            let request = request.with("x-list", "one").with("x-list", "two");
            let reply = house.send(door, request).await;
            let case = format!("{door:?} {protocol:?}: {reply:?}");
            assert_eq!(reply.header("x-raw-bin"), Some("AP8K"), "{case}");
            assert_eq!(reply.header("x-one"), Some("a b"), "{case}");
            let list: Vec<&str> =
                reply.headers.iter().filter(|(k, _)| k == "x-list").map(|(_, v)| &**v).collect();
            // Load balancers with single values hand over only the last.
            let expected = if door == Door::Alb { "two" } else { "one,two" };
            assert_eq!(list.join(","), expected, "{case}");
            let trailers = protocol.outcome(&reply).trailers;
            assert!(trailers.contains(&("probe-trailer".into(), "done".into())), "{case}");
            assert!(trailers.contains(&("probe-trailer-bin".into(), "AP8".into())), "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_ends_panics_end_and_unknown_methods_end_with_a_status() {
    let house = House::new().await;
    let sleep =
        v1::SleepRequest { duration: Some(prost_types::Duration { seconds: 60, nanos: 0 }) };
    for door in DOORS {
        for protocol in SPOKEN {
            let request = protocol.request(&unary("Sleep", &sleep));
            let request = match protocol {
                Protocol::ConnectProto => request.with("connect-timeout-ms", "100"),
                _ => request.with("grpc-timeout", "100m"),
            };
            let outcome = protocol.outcome(&house.send(door, request).await);
            assert_eq!(outcome.code, Code::DeadlineExceeded as i32, "{door:?} {protocol:?}");

            let panic = unary("Panic", &v1::PanicRequest { message: "secret".into() });
            let outcome = send(&house, door, protocol, &panic).await;
            assert_eq!(outcome.code, Code::Internal as i32, "{door:?} {protocol:?}: {outcome:?}");
            assert!(!outcome.text.contains("secret"), "{outcome:?}");

            let outcome = send(&house, door, protocol, &unary("Nothing", &())).await;
            assert_eq!(outcome.code, Code::Unimplemented as i32, "{door:?} {protocol:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_too_large_is_a_status_and_nothing_is_cut() {
    let house = House::new().await;
    let echo =
        |response_bytes| unary("Echo", &v1::EchoRequest { response_bytes, ..Default::default() });
    for (door, fits, too_large) in [
        (Door::Alb, 700_000, 760_000),
        (Door::AlbMultiValue, 700_000, 760_000),
        (Door::HttpApi, 4_600_000, 4_800_000),
        (Door::Url, 4_600_000, 4_800_000),
    ] {
        for protocol in SPOKEN {
            let outcome = send(&house, door, protocol, &echo(fits)).await;
            let [Message::Binary(message)] = &outcome.messages[..] else { panic!("{door:?}") };
            let payload = v1::EchoResponse::decode(message.clone()).unwrap().payload;
            assert_eq!(payload.len(), fits as usize);
            let outcome = send(&house, door, protocol, &echo(too_large)).await;
            assert_eq!(outcome.code, Code::ResourceExhausted as i32, "{door:?} {protocol:?}");
        }
        // In JSON the answer grows a second time.
        let request = Request::post(
            "/queuebridge.demo.v1.Probe/Echo",
            "application/json",
            json!({"responseBytes": fits * 11 / 10}).to_string(),
        );
        let outcome = Protocol::ConnectJson.outcome(&house.send(door, request).await);
        assert_eq!(outcome.code, Code::ResourceExhausted as i32, "{door:?}: {}", outcome.text);
    }
    let outcome = send(&house, Door::UrlStream, Protocol::GrpcWeb, &echo(8_000_000)).await;
    assert_eq!(outcome.code, 0, "a stream has no such limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_call_gets_an_answer_of_http() {
    let house = House::new().await;
    let status = |reply: Reply| (reply.status, String::from_utf8_lossy(&reply.body).into_owned());
    for door in DOORS {
        for path in ["/", "/healthz"] {
            assert_eq!(status(house.send(door, Request::get(path)).await).0, 200, "{door:?}");
        }
        let form = Request::post("/a.B/C", "application/x-www-form-urlencoded", "a=b");
        let (code, text) = status(house.send(door, form).await);
        assert_eq!(code, 415, "{door:?}");
        assert!(text.contains("Connect"), "it says what to use: {text}");
        let path = "/queuebridge.demo.v1.Probe/Echo";
        let broken = Request::post(path, "application/json", "{\"payload\": 1");
        let outcome = Protocol::ConnectJson.outcome(&house.send(door, broken).await);
        assert_eq!(outcome.code, Code::InvalidArgument as i32, "{door:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_answered_and_what_has_no_door_is_an_error() {
    let house = House::new().await;
    let long = Duration::from_secs(10);
    for door in [Door::Alb, Door::AlbMultiValue, Door::HttpApi, Door::Url] {
        let mut event = event(door, &Request::post("/a.B/C", "application/proto", "x"));
        event["body"] = json!("!");
        assert_eq!(house.invoke(&event, long).await.json()["statusCode"], 400, "{door:?}");
    }
    for event in [json!({}), json!({"Records": [{"eventSource": "aws:s3"}]}), json!({"a": 1})] {
        assert!(matches!(house.invoke(&event, long).await, Answer::Error(_)), "{event}");
    }
    let sqs = json!({"Records": [{"messageId": "1", "eventSource": "aws:sqs", "body": "x"}]});
    let Answer::Error(error) = house.invoke(&sqs, long).await else { panic!("there is no bridge") };
    assert!(String::from_utf8_lossy(&error.body).contains("QB_STORE_TABLE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_invocation_is_the_end_of_the_call() {
    let house = House::new().await;
    let sleep =
        v1::SleepRequest { duration: Some(prost_types::Duration { seconds: 60, nanos: 0 }) };
    let request = Protocol::GrpcWeb.request(&unary("Sleep", &sleep));
    let answer = house.invoke(&event(Door::Url, &request), Duration::from_secs(2)).await;
    let status = answer.json()["headers"]["grpc-status"].as_str().map(str::to_owned);
    assert_eq!(status.as_deref(), Some("4"), "before Lambda ends the process: {answer:?}");
}

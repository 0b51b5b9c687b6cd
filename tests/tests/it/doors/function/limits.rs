//! What is too large is told so, in the words of the protocol, and not by a 502.

use super::super::door::Door;
use super::super::protocol::{Call, Message, Protocol};
use super::{BUFFERED, Deployment, ECHO, LONG, SPOKEN, send};
use prost::Message as _;
use queuebridge_demo::v1;
use serde_json::json;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_pass_is_a_status_and_the_largest_one_passes() {
    let deployment = Deployment::new().await;
    let _worker = deployment.worker().await;
    let function = deployment.function(&[]).await;
    let echo = |response_bytes: u32| {
        let request = v1::EchoRequest { response_bytes, ..Default::default() };
        let messages =
            vec![(request.encode_to_vec().into(), json!({"responseBytes": response_bytes}))];
        Call { method: ECHO, streaming: false, messages }
    };
    for (door, fits, too_large) in [
        (Door::Alb, 700_000, 760_000),
        (Door::AlbMultiValue, 700_000, 760_000),
        (Door::HttpApi, 4_600_000, 4_800_000),
        (Door::Url, 4_600_000, 4_800_000),
    ] {
        for protocol in [Protocol::GrpcWeb, Protocol::ConnectProto] {
            let reply = send(&function, door, protocol.request(&echo(fits)), LONG).await;
            let outcome = protocol.outcome(&reply);
            let [Message::Binary(answer)] = &outcome.messages[..] else { panic!("{door:?}") };
            assert!(answer.len() >= fits as usize, "{door:?} {protocol:?}");
            let reply = send(&function, door, protocol.request(&echo(too_large)), LONG).await;
            let outcome = protocol.outcome(&reply);
            assert_eq!(outcome.code, Code::ResourceExhausted as i32, "{door:?} {}", outcome.text);
            assert_eq!(outcome.details, ["google.rpc.ErrorInfo"], "{door:?} {protocol:?}");
        }
        // In JSON the same bytes are a third more.
        let request = Protocol::ConnectJson.request(&echo(fits * 11 / 10));
        let outcome = Protocol::ConnectJson.outcome(&send(&function, door, request, LONG).await);
        assert_eq!(outcome.code, Code::ResourceExhausted as i32, "{door:?} {}", outcome.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_larger_than_the_gateway_takes_is_a_status() {
    let deployment = Deployment::new().await;
    let function = deployment.function(&[("QB_MAX_MESSAGE_BYTES", "64KiB")]).await;
    let request = v1::EchoRequest { payload: vec![7; 70_000].into(), ..Default::default() };
    let json = json!({"payload": "BwcH".repeat(70_000 / 3)});
    let messages = vec![(request.encode_to_vec().into(), json)];
    let call = Call { method: ECHO, streaming: false, messages };
    for door in BUFFERED {
        for protocol in SPOKEN {
            let reply = send(&function, door, protocol.request(&call), LONG).await;
            let outcome = protocol.outcome(&reply);
            let case = format!("{door:?} {protocol:?} {}", outcome.text);
            assert_eq!(outcome.code, Code::ResourceExhausted as i32, "{case}");
            assert!(outcome.messages.iter().all(|m| !matches!(m, Message::Binary(_))), "{case}");
        }
    }
}

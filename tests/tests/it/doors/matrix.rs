//! The capability matrix, cell by cell.

use super::door::{DOORS, Door, House};
use super::protocol::{Call, Message, PROTOCOLS, Protocol};
use prost::Message as _;
use queuebridge_demo::v1;
use serde_json::{Value, json};
use tonic::Code;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unary,
    Error,
    ServerStreaming,
    ClientStreaming,
    Bidirectional,
}

const KINDS: [Kind; 5] =
    [Kind::Unary, Kind::Error, Kind::ServerStreaming, Kind::ClientStreaming, Kind::Bidirectional];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Served,
    Refused(Code),
}

/// What the documentation promises.
fn promised(_door: Door, protocol: Protocol, kind: Kind) -> Cell {
    use Protocol::{BridgeFramed, BridgeUnframed, ConnectGet};
    match (protocol, kind) {
        // A GET of what is no query is no method that HTTP allows there.
        (ConnectGet, Kind::Unary) => Cell::Served,
        (ConnectGet, _) => Cell::Refused(Code::Unknown),
        (BridgeFramed | BridgeUnframed, Kind::ServerStreaming)
        | (BridgeFramed, Kind::ClientStreaming | Kind::Bidirectional) => {
            Cell::Refused(Code::Unimplemented)
        }
        // One message is all that fits without frames, and a stream of one is served.
        _ => Cell::Served,
    }
}

fn call(kind: Kind) -> Call {
    let message = |message: Vec<u8>, json: Value| (message.into(), json);
    match kind {
        Kind::Unary => {
            let request = v1::EchoRequest { payload: "hi".into(), ..Default::default() };
            let json = json!({"payload": "aGk="});
            let messages = vec![message(request.encode_to_vec(), json)];
            Call { method: "Echo", streaming: false, messages }
        }
        Kind::Error => {
            let (code, text, reason) = (9, "not now ✓", "CLOSED");
            let request = v1::FailRequest { code, message: text.into(), reason: reason.into() };
            let json = json!({"code": code, "message": text, "reason": reason});
            let messages = vec![message(request.encode_to_vec(), json)];
            Call { method: "Fail", streaming: false, messages }
        }
        Kind::ServerStreaming => {
            let request = v1::CountRequest { up_to: 3, pause: None };
            let messages = vec![message(request.encode_to_vec(), json!({"upTo": 3}))];
            Call { method: "Count", streaming: true, messages }
        }
        Kind::ClientStreaming => {
            let number = |number: i64| {
                let request = v1::SumRequest { number };
                // 64-bit numbers are strings in JSON.
                message(request.encode_to_vec(), json!({"number": number.to_string()}))
            };
            Call { method: "Sum", streaming: true, messages: vec![number(40), number(2)] }
        }
        Kind::Bidirectional => {
            let say = |payload: &'static str, json: &str| {
                let request = v1::ChatRequest { payload: payload.into() };
                message(request.encode_to_vec(), json!({"payload": json}))
            };
            let messages = vec![say("a", "YQ=="), say("b", "Yg==")];
            Call { method: "Chat", streaming: true, messages }
        }
    }
}

/// What the handler answers; through a bridge without frames only the first
/// request arrives.
fn answers(protocol: Protocol, kind: Kind) -> Vec<Message> {
    let one = protocol == Protocol::BridgeUnframed;
    let json = protocol == Protocol::ConnectJson;
    let answer = |message: Vec<u8>, value: Value| match json {
        true => Message::Json(value),
        false => Message::Binary(message.into()),
    };
    match kind {
        Kind::Unary => {
            let response = v1::EchoResponse { payload: "hi".into() };
            vec![answer(response.encode_to_vec(), json!({"payload": "aGk="}))]
        }
        Kind::Error => vec![],
        Kind::ServerStreaming => (1..=3)
            .map(|number| {
                let response = v1::CountResponse { number };
                answer(response.encode_to_vec(), json!({"number": number}))
            })
            .collect(),
        Kind::ClientStreaming => {
            let (sum, numbers) = if one { (40, 1) } else { (42, 2) };
            let response = v1::SumResponse { sum, numbers };
            let value = json!({"sum": sum.to_string(), "numbers": numbers});
            vec![answer(response.encode_to_vec(), value)]
        }
        Kind::Bidirectional => {
            let all = [("a", "YQ==", 1), ("b", "Yg==", 2)];
            let heard = |(payload, json, number): (&'static str, &str, u32)| {
                let response = v1::ChatResponse { payload: payload.into(), number };
                answer(response.encode_to_vec(), json!({"payload": json, "number": number}))
            };
            all.into_iter().take(if one { 1 } else { 2 }).map(heard).collect()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cell_is_served_or_refused_as_promised() {
    let house = House::new().await;
    let mut wrong = Vec::new();
    for door in DOORS {
        for protocol in PROTOCOLS {
            for kind in KINDS {
                let cell = (door, protocol, kind);
                let reply = house.send(door, protocol.request(&call(kind))).await;
                let outcome = protocol.outcome(&reply);
                let ok = match (promised(door, protocol, kind), kind) {
                    (Cell::Served, Kind::Error) => {
                        let reason = outcome.details == ["google.rpc.ErrorInfo"];
                        outcome.code == 9 && reason && outcome.text == "not now ✓"
                    }
                    (Cell::Served, _) => {
                        outcome.code == 0 && outcome.messages == answers(protocol, kind)
                    }
                    (Cell::Refused(code), _) => outcome.code == code as i32,
                };
                if !ok {
                    wrong.push(format!("{cell:?}: {outcome:?}\n    {reply:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} cells:\n{}", wrong.len(), wrong.join("\n"));
}

//! The protocols as their clients speak them, written down from their
//! specifications and not from the server.

use super::{Reply, Request};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message as _;
use serde_json::Value;
use tonic_types::pb;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    GrpcWeb,
    GrpcWebText,
    ConnectProto,
    ConnectJson,
    ConnectGet,
    BridgeFramed,
    BridgeUnframed,
}

pub(super) const PROTOCOLS: [Protocol; 7] = [
    Protocol::GrpcWeb,
    Protocol::GrpcWebText,
    Protocol::ConnectProto,
    Protocol::ConnectJson,
    Protocol::ConnectGet,
    Protocol::BridgeFramed,
    Protocol::BridgeUnframed,
];

/// A call: its messages in both forms.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// Of `Probe`, or with its service: `/package.Service/Method`.
    pub(super) method: &'static str,
    pub(super) streaming: bool,
    pub(super) messages: Vec<(Bytes, Value)>,
}

/// What a client makes of a reply.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// The gRPC code, whatever the protocol calls it.
    pub(super) code: i32,
    pub(super) text: String,
    pub(super) messages: Vec<Message>,
    pub(super) trailers: Vec<(String, String)>,
    /// The type names of the error details.
    pub(super) details: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    Binary(Bytes),
    Json(Value),
}

const CODES: [&str; 17] = [
    "ok",
    "canceled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

impl Protocol {
    /// The request of a call.
    pub(super) fn request(self, call: &Call) -> Request {
        let path = match call.method {
            full if full.starts_with('/') => full.to_owned(),
            method => format!("/queuebridge.demo.v1.Probe/{method}"),
        };
        let binary = || call.messages.iter().map(|(message, _)| message);
        let framed = || binary().fold(BytesMut::new(), |all, m| frame(all, 0, m)).freeze();
        let single = || call.messages.first().map(|(message, _)| message.clone());
        match self {
            Self::GrpcWeb => {
                Request::post(path, "application/grpc-web+proto", framed()).with("x-grpc-web", "1")
            }
            Self::GrpcWebText => {
                let text = STANDARD.encode(framed());
                Request::post(path, "application/grpc-web-text", text)
                    .with("accept", "application/grpc-web-text")
            }
            Self::ConnectProto if call.streaming => {
                Request::post(path, "application/connect+proto", framed())
                    .with("connect-protocol-version", "1")
            }
            Self::ConnectProto => {
                Request::post(path, "application/proto", single().unwrap_or_default())
                    .with("connect-protocol-version", "1")
            }
            Self::ConnectJson if call.streaming => {
                let json = call.messages.iter().map(|(_, json)| Bytes::from(json.to_string()));
                let body = json.fold(BytesMut::new(), |all, m| frame(all, 0, &m)).freeze();
                Request::post(path, "application/connect+json", body)
                    .with("connect-protocol-version", "1")
            }
            Self::ConnectJson => {
                Request::post(path, "application/json", call.messages[0].1.to_string())
                    .with("connect-protocol-version", "1")
            }
            Self::ConnectGet => {
                let message = URL_SAFE_NO_PAD.encode(single().unwrap_or_default());
                let query = format!("encoding=proto&base64=1&connect=v1&message={message}");
                Request { query, ..Request::get(path) }
            }
            Self::BridgeFramed => Request::post(path, "application/grpc", framed()),
            Self::BridgeUnframed => {
                Request::post(path, "application/grpc+proto", single().unwrap_or_default())
            }
        }
    }

    /// What the client understands.
    pub(super) fn outcome(self, reply: &Reply) -> Outcome {
        let kind = reply.header("content-type").unwrap_or_default();
        match self {
            Self::GrpcWeb => grpc_web(reply, reply.body.clone()),
            Self::GrpcWebText => {
                let text = std::str::from_utf8(&reply.body).unwrap();
                grpc_web(reply, quanta(text))
            }
            Self::ConnectProto | Self::ConnectJson if kind.starts_with("application/connect+") => {
                connect_stream(reply, self == Self::ConnectJson)
            }
            Self::ConnectProto | Self::ConnectJson | Self::ConnectGet => {
                connect_unary(reply, self == Self::ConnectJson)
            }
            Self::BridgeFramed | Self::BridgeUnframed => {
                let mut outcome = Outcome { trailers: reply.headers.clone(), ..Outcome::default() };
                read_status(&mut outcome);
                let mut body = reply.body.clone();
                if outcome.code == 0 {
                    if self == Self::BridgeFramed {
                        assert_eq!(body[0], 0);
                        body.advance(1);
                        assert_eq!(body.get_u32() as usize, body.len());
                    }
                    outcome.messages.push(Message::Binary(body));
                }
                outcome
            }
        }
    }
}

fn frame(mut all: BytesMut, flags: u8, message: &Bytes) -> BytesMut {
    all.put_u8(flags);
    all.put_u32(u32::try_from(message.len()).unwrap());
    all.put(message.clone());
    all
}

fn frames(mut body: Bytes) -> Vec<(u8, Bytes)> {
    let mut all = Vec::new();
    while !body.is_empty() {
        let flags = body.get_u8();
        let len = body.get_u32() as usize;
        all.push((flags, body.split_to(len)));
    }
    all
}

/// Base64 that may be padded in the middle, as each part was encoded for itself.
fn quanta(text: &str) -> Bytes {
    text.as_bytes().chunks(4).flat_map(|four| STANDARD.decode(four).unwrap()).collect()
}

fn grpc_web(reply: &Reply, body: Bytes) -> Outcome {
    assert_eq!(reply.status, 200, "{reply:?}");
    let mut outcome = Outcome::default();
    for (flags, data) in frames(body) {
        if flags & 0x80 == 0 {
            outcome.messages.push(Message::Binary(data));
            continue;
        }
        let text = String::from_utf8(data.to_vec()).unwrap();
        let line = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            assert_eq!(name, name.to_lowercase());
            (name.to_owned(), value.trim().to_owned())
        };
        outcome.trailers.extend(text.split_terminator("\r\n").map(line));
    }
    if !outcome.trailers.iter().any(|(name, _)| name == "grpc-status") {
        // Only when there is nothing else.
        assert!(outcome.messages.is_empty(), "{reply:?}");
        outcome.trailers.clone_from(&reply.headers);
    }
    read_status(&mut outcome);
    outcome
}

fn read_status(outcome: &mut Outcome) {
    let of = |name: &str| {
        let found = outcome.trailers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    };
    outcome.code = of("grpc-status").expect("a status").parse().unwrap();
    outcome.text = unescaped(&of("grpc-message").unwrap_or_default());
    if let Some(details) = of("grpc-status-details-bin") {
        let bytes = STANDARD_NO_PAD.decode(details.trim_end_matches('=')).unwrap();
        let status = pb::Status::decode(&bytes[..]).unwrap();
        outcome.details =
            status.details.into_iter().map(|detail| short(&detail.type_url)).collect();
    }
}

/// Without the percent signs of `grpc-message`.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        bytes.push(u8::from_str_radix(&after[..2], 16).unwrap());
        rest = &after[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).unwrap()
}

fn short(type_url: &str) -> String {
    type_url.rsplit('/').next().unwrap().to_owned()
}

fn connect_unary(reply: &Reply, json: bool) -> Outcome {
    let trailer = |(name, value): &(String, String)| {
        name.strip_prefix("trailer-").map(|name| (name.to_owned(), value.clone()))
    };
    let trailers = reply.headers.iter().filter_map(trailer).collect();
    let mut outcome = Outcome { trailers, ..Outcome::default() };
    if reply.status == 200 {
        outcome.messages.push(match json {
            true => Message::Json(serde_json::from_slice(&reply.body).unwrap()),
            false => Message::Binary(reply.body.clone()),
        });
        return outcome;
    }
    match serde_json::from_slice(&reply.body) {
        Ok(error) => connect_error(&mut outcome, &error),
        // Without a body of the protocol the HTTP status stands for the code.
        Err(_) => outcome.code = if reply.status == 405 { 2 } else { 13 },
    }
    outcome
}

fn connect_stream(reply: &Reply, json: bool) -> Outcome {
    assert_eq!(reply.status, 200, "{reply:?}");
    let mut outcome = Outcome::default();
    let mut ended = false;
    for (flags, data) in frames(reply.body.clone()) {
        assert!(!ended, "nothing comes after the end");
        if flags & 2 != 0 {
            ended = true;
            let end: Value = serde_json::from_slice(&data).unwrap();
            for (name, values) in end["metadata"].as_object().into_iter().flatten() {
                let values = values.as_array().unwrap().iter();
                let pair = |value: &Value| (name.clone(), value.as_str().unwrap().to_owned());
                outcome.trailers.extend(values.map(pair));
            }
            if end["error"].is_object() {
                connect_error(&mut outcome, &end["error"]);
            }
            continue;
        }
        outcome.messages.push(match json {
            true => Message::Json(serde_json::from_slice(&data).unwrap()),
            false => Message::Binary(data),
        });
    }
    assert!(ended, "the stream has an end: {reply:?}");
    outcome
}

fn connect_error(outcome: &mut Outcome, error: &Value) {
    let code = error["code"].as_str().unwrap();
    let number = CODES.iter().position(|known| *known == code).unwrap();
    outcome.code = i32::try_from(number).unwrap();
    outcome.text = error["message"].as_str().unwrap_or_default().to_owned();
    let details = error["details"].as_array().cloned().unwrap_or_default();
    outcome.details = details.iter().map(|d| d["type"].as_str().unwrap().to_owned()).collect();
}

//! Lambda events around messages.

use crate::python::root;
use serde_json::{Value, json};
use std::fs;

/// An event of `tests/fixtures/events`.
///
/// # Panics
/// When it is missing or not JSON.
#[must_use]
pub fn fixture(name: &str) -> Value {
    let path = root().join("tests/fixtures/events").join(name);
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The record of a fixture with another id and body.
#[must_use]
pub fn record(fixture_name: &str, id: &str, body: &str) -> Value {
    let mut record = fixture(fixture_name)["Records"][0].take();
    record["messageId"] = id.into();
    record["receiptHandle"] = format!("receipt-{id}").into();
    record["body"] = body.into();
    record
}

/// A record of an ordered queue.
#[must_use]
pub fn ordered(id: &str, body: &str, group: &str) -> Value {
    let mut record = record("sqs_fifo.json", id, body);
    record["attributes"]["MessageGroupId"] = group.into();
    record
}

/// A record without anything that may be missing, so that many fit into an event.
#[must_use]
pub fn least(id: &str, body: &str) -> Value {
    json!({
        "messageId": id,
        "receiptHandle": id,
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:q",
        "awsRegion": "us-east-1",
    })
}

/// The event of these records, as Lambda sends it: without white space.
#[must_use]
pub fn sqs(records: &[Value]) -> Vec<u8> {
    json!({ "Records": records }).to_string().into_bytes()
}

/// The ids that a partial batch response lists, in its order.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn failures(answer: &Value) -> Vec<&str> {
    let listed = answer["batchItemFailures"].as_array();
    let listed = listed.unwrap_or_else(|| panic!("not a batch response: {answer}"));
    listed.iter().map(|failure| failure["itemIdentifier"].as_str().unwrap_or_default()).collect()
}

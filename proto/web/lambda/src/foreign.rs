//! Events that have no door: what was received, what is expected, and the way out.

use crate::event::Event;
use serde_json::Value;

/// What the functions of both programs take.
const EXPECTED: &str = "a gateway takes requests of an Application Load Balancer, an HTTP API in \
                        payload format 2.0 or a Function URL; a worker takes these, and messages \
                        of SQS by an event source mapping or an EventBridge pipe";
/// For events that are meant to be jobs.
const SUBMIT: &str = "events are no jobs: submit jobs at a gateway, which sends them to the \
                      worker's queue";
/// For topics.
const SUBSCRIBE: &str = "subscribe the worker's queue to the topic and let the queue invoke the \
                         function: a topic invokes it asynchronously, and gives a message up \
                         after two failures";
const PAYLOAD_FORMAT: &str = "use an HTTP API with payload format 2.0, or a Function URL";

/// The message for an event that is not taken.
pub(crate) fn message(received: &str, way_out: &str) -> String {
    format!(
        "received {received}, which this function does not take: {EXPECTED}. Instead, {way_out}"
    )
}

/// The message for records that are not those of SQS. `source` is what they say of where
/// they come from, such as `aws:sns`.
#[must_use]
pub fn records(source: Option<&str>) -> String {
    let (received, way_out) = match source {
        Some("aws:sns") => ("messages of an SNS topic (aws:sns)".to_owned(), SUBSCRIBE),
        Some("aws:sqs") => {
            ("messages of an SQS queue (aws:sqs)".to_owned(), "let the queue invoke a worker")
        }
        Some(source) => (format!("records of {source}"), SUBMIT),
        None => (
            "records that do not say that they are messages of SQS".to_owned(),
            "let an event source mapping, or a pipe without an input template, hand on the \
             messages as they are",
        ),
    };
    message(&received, way_out)
}

/// The message for an event that is no request and has no records.
pub(crate) fn other<R>(event: &Event<R>) -> String {
    let text = |value: &Option<Value>| value.as_ref().and_then(Value::as_str).map(str::to_owned);
    let (received, way_out) = if event.detail_type.is_some() {
        let source = text(&event.source).unwrap_or_default();
        (format!("an event of EventBridge, from {source}"), SUBMIT)
    } else if event.awslogs.is_some() {
        ("lines of CloudWatch Logs".to_owned(), SUBMIT)
    } else if event.delivery_stream_arn.is_some() {
        ("records of Firehose".to_owned(), SUBMIT)
    } else if let Some(source) = text(&event.event_source) {
        (format!("records of {source}"), SUBMIT)
    } else if event.connection_id {
        ("a message of a WebSocket API".to_owned(), PAYLOAD_FORMAT)
    } else if event.http_method.is_some() {
        let rest = "a request of a REST API, or of an HTTP API in payload format 1.0";
        (rest.to_owned(), PAYLOAD_FORMAT)
    } else {
        ("an event of no known kind".to_owned(), "see how the function is invoked")
    };
    message(&received, way_out)
}

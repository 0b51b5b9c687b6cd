//! A job as JSON, in the form that Protobuf prescribes: names in camelCase,
//! bytes as Base64, times as RFC 3339, unset fields left out.
//!
//! The details of a status are of any type. Those that Queuebridge itself
//! writes are spelled out; any other one is its type and its bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use queuebridge_proto::v1::gather_rule::Answer;
use queuebridge_proto::v1::job::Outcome;
use queuebridge_proto::v1::{Gather, GatherRule, Job, Metadatum, Stream, metadatum};
use serde_json::{Map, Value, json};
use tonic_types::pb::{BadRequest, ErrorInfo, RetryInfo};

/// The JSON form of a job.
pub(super) fn job(job: &Job) -> Value {
    let mut object = Object::default();
    object.text("id", &job.id);
    object.text("method", &job.method);
    object.put("state", (job.state != 0).then(|| state(job)));
    object.put("submitTime", job.submit_time.as_ref().map(timestamp));
    object.put("startTime", job.start_time.as_ref().map(timestamp));
    object.put("completeTime", job.complete_time.as_ref().map(timestamp));
    object.put("expireTime", job.expire_time.as_ref().map(timestamp));
    object.put("purgeTime", job.purge_time.as_ref().map(timestamp));
    object.put("resultRetention", job.result_retention.as_ref().map(duration));
    object.put("attempt", (job.attempt != 0).then_some(job.attempt));
    object.put(
        "progress",
        job.progress.as_ref().map(|progress| {
            let mut object = Object::default();
            object.put("fraction", (progress.fraction != 0.0).then(|| double(progress.fraction)));
            object.text("message", &progress.message);
            object.text("partialResult", &base64(&progress.partial_result));
            object.put("updateTime", progress.update_time.as_ref().map(timestamp));
            object.finish()
        }),
    );
    object.put("cancelRequested", job.cancel_requested.then_some(true));
    object.list("initialMetadata", &job.initial_metadata, metadatum);
    object.list("trailingMetadata", &job.trailing_metadata, metadatum);
    object.text("retryOf", &job.retry_of);
    match &job.outcome {
        Some(Outcome::Response(response)) => {
            let mut inner = Object::default();
            inner.text("message", &base64(&response.message));
            if response.size > response.message.len() as u64 {
                inner.text("size", &response.size.to_string());
                inner.text("sha256", &base64(&response.sha256));
            }
            inner.text("type", &response.r#type);
            object.put("response", Some(inner.finish()));
        }
        Some(Outcome::Error(error)) => object.put("error", Some(status(error))),
        None => {}
    }
    object.put("gather", job.gather.as_deref().map(gather));
    object.put("stream", job.stream.as_ref().map(stream));
    object.finish()
}

/// Numbers of 64 bits are text.
fn stream(stream: &Stream) -> Value {
    let mut object = Object::default();
    for (name, number) in [("messages", stream.messages), ("size", stream.size)] {
        object.put(name, (number != 0).then(|| number.to_string()));
    }
    object.finish()
}

fn gather(gather: &Gather) -> Value {
    let mut object = Object::default();
    object.put("rule", gather.rule.as_ref().map(rule));
    object.put("total", Some(gather.total));
    object.put("succeeded", (gather.succeeded != 0).then_some(gather.succeeded));
    object.put("failed", (gather.failed != 0).then_some(gather.failed));
    object.list("branches", &gather.branches, |branch| {
        let mut object = Object::default();
        object.text("name", &branch.name);
        object.put("job", branch.job.as_ref().map(job));
        object.put("late", branch.late.then_some(true));
        object.finish()
    });
    object.finish()
}

fn rule(rule: &GatherRule) -> Value {
    let mut object = Object::default();
    object.put("need", (rule.need != 0).then_some(rule.need));
    object.put("deadline", rule.deadline.as_ref().map(duration));
    object.put("partial", rule.partial.then_some(true));
    object.put("successCodes", (!rule.success_codes.is_empty()).then(|| json!(rule.success_codes)));
    let late = rule.late_branches();
    object.put("lateBranches", (rule.late_branches != 0).then(|| late.as_str_name()));
    object.put("cancelRest", rule.cancel_rest.then_some(true));
    match &rule.answer {
        Some(Answer::Primary(name)) => object.put("primary", Some(name.as_str())),
        Some(Answer::Merge(merge)) => object.put("merge", Some(*merge)),
        None => {}
    }
    object.finish()
}

/// RFC 3339 in UTC, with as many digits as are needed: 0, 3, 6 or 9.
pub(super) fn timestamp(at: &prost_types::Timestamp) -> String {
    at.to_string()
}

/// The standard alphabet with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// An unknown state is its number, as for every enum.
fn state(job: &Job) -> Value {
    match queuebridge_proto::v1::State::try_from(job.state) {
        Ok(state) => state.as_str_name().into(),
        Err(_) => job.state.into(),
    }
}

/// Seconds with 0, 3, 6 or 9 digits and the unit.
fn duration(duration: &prost_types::Duration) -> String {
    let sign = if duration.seconds < 0 || duration.nanos < 0 { "-" } else { "" };
    let (seconds, nanos) = (duration.seconds.unsigned_abs(), duration.nanos.unsigned_abs());
    let fraction = match nanos {
        0 => String::new(),
        n if n % 1_000_000 == 0 => format!(".{:03}", n / 1_000_000),
        n if n % 1_000 == 0 => format!(".{:06}", n / 1_000),
        n => format!(".{n:09}"),
    };
    format!("{sign}{seconds}{fraction}s")
}

/// JSON has no numbers for these.
fn double(number: f64) -> Value {
    match number {
        n if n.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        n => n.into(),
    }
}

fn metadatum(entry: &Metadatum) -> Value {
    let mut object = Object::default();
    object.text("key", &entry.key);
    match &entry.value {
        Some(metadatum::Value::Ascii(text)) => object.put("ascii", Some(text.as_str())),
        Some(metadatum::Value::Binary(bytes)) => object.put("binary", Some(base64(bytes))),
        None => {}
    }
    object.finish()
}

/// A `google.rpc.Status`.
pub(super) fn status(status: &tonic_types::Status) -> Value {
    let mut object = Object::default();
    object.put("code", (status.code != 0).then_some(status.code));
    object.text("message", &status.message);
    object.list("details", &status.details, |any| detail(&any.type_url, &any.value));
    object.finish()
}

fn detail(type_url: &str, bytes: &[u8]) -> Value {
    let name = type_url.rsplit('/').next().unwrap_or_default();
    let known = match name {
        "google.rpc.ErrorInfo" => ErrorInfo::decode(bytes).ok().map(|info| {
            let mut object = Object::default();
            object.text("reason", &info.reason);
            object.text("domain", &info.domain);
            object.put("metadata", (!info.metadata.is_empty()).then(|| json!(info.metadata)));
            object
        }),
        "google.rpc.BadRequest" => BadRequest::decode(bytes).ok().map(|bad| {
            let mut object = Object::default();
            object.list("fieldViolations", &bad.field_violations, |violation| {
                let mut object = Object::default();
                object.text("field", &violation.field);
                object.text("description", &violation.description);
                object.text("reason", &violation.reason);
                object.finish()
            });
            object
        }),
        "google.rpc.RetryInfo" => RetryInfo::decode(bytes).ok().map(|info| {
            let mut object = Object::default();
            object.put("retryDelay", info.retry_delay.as_ref().map(duration));
            object
        }),
        _ => None,
    };
    let mut object = known.unwrap_or_else(|| {
        let mut object = Object::default();
        object.text("value", &base64(bytes));
        object
    });
    object.put("@type", Some(type_url));
    object.finish()
}

/// An object without its unset fields.
#[derive(Default)]
pub(super) struct Object(Map<String, Value>);

impl Object {
    pub(super) fn put(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.put(name, (!text.is_empty()).then_some(text));
    }

    pub(super) fn list<T>(&mut self, name: &str, entries: &[T], form: impl Fn(&T) -> Value) {
        let list = || entries.iter().map(form).collect::<Vec<Value>>();
        self.put(name, (!entries.is_empty()).then(list));
    }

    pub(super) fn finish(self) -> Value {
        Value::Object(self.0)
    }
}

#[cfg(test)]
mod tests;

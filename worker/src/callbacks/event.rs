//! What a receiver is told.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use queuebridge_proto::codes::code_name;
use queuebridge_proto::outcome::from_rpc_status;
use queuebridge_proto::v1::{Job, NotifyRequest, Response, State, job, outcome};
use queuebridge_proto::{JobId, UnixMillis};
use queuebridge_store::Record;
use serde_json::{Map, Value, json};
use tonic::Code;
use tonic_types::StatusExt;

/// The largest answer that is told; a larger one is fetched. Receivers may refuse
/// bodies of 20 kB, and Base64 makes four bytes of three.
const INLINE: usize = 12_000;

/// A finished job, ready to be told.
pub(super) struct Event {
    id: JobId,
    purged: bool,
    job: Job,
}

impl Event {
    pub(super) fn new(id: &JobId, method: &str, record: Record) -> Self {
        let purge_at = record.purge_at(id);
        let outcome = record.outcome;
        let purged = outcome.is_none();
        let outcome = outcome.unwrap_or_default();
        let (r#type, retry_of) = (outcome.response_type, outcome.retry_of);
        let (size, message, sha256) = match &outcome.result {
            Some(outcome::Result::Response(message)) if message.len() <= INLINE => {
                (message.len() as u64, message.clone(), Default::default())
            }
            Some(outcome::Result::Response(message)) => {
                (message.len() as u64, Default::default(), Default::default())
            }
            Some(outcome::Result::ResponseRef(at)) => {
                (at.size, Default::default(), at.sha256.clone())
            }
            _ => Default::default(),
        };
        let outcome = outcome.result.map(|result| match result {
            outcome::Result::Error(status) => job::Outcome::Error(status),
            _ => job::Outcome::Response(Response { message, size, sha256, r#type }),
        });
        let time = |at: Option<UnixMillis>| at.map(UnixMillis::to_proto);
        let job = Job {
            id: id.to_string(),
            method: if record.method.is_empty() { method.to_owned() } else { record.method },
            state: record.state as i32,
            submit_time: time(Some(id.submitted_at())),
            start_time: time(record.started_at),
            complete_time: time(record.completed_at),
            expire_time: time(Some(id.expires_at())),
            purge_time: time(purge_at),
            attempt: record.attempt,
            retry_of,
            outcome,
            ..Job::default()
        };
        Self { id: *id, purged, job }
    }

    /// The callback's id, the same in every try.
    pub(super) fn id(&self) -> String {
        self.id.to_string()
    }

    /// What a gRPC receiver gets.
    pub(super) fn notification(&self) -> NotifyRequest {
        NotifyRequest { id: self.id(), job: Some(self.job.clone()) }
    }

    /// How the job ended, in lower case.
    pub(super) fn state(&self) -> &'static str {
        match self.job.state() {
            State::Succeeded => "succeeded",
            State::Cancelled => "cancelled",
            State::Expired => "expired",
            _ => "failed",
        }
    }

    pub(super) fn method(&self) -> &str {
        &self.job.method
    }

    /// The body of a webhook and of a message.
    pub(super) fn to_json(&self, result_url: Option<&str>, now: UnixMillis) -> String {
        let job = &self.job;
        let mut data = Map::new();
        let mut put = |name: &str, value: Value| data.insert(name.to_owned(), value);
        put("id", job.id.clone().into());
        put("name", format!("operations/{}", job.id).into());
        put("method", job.method.clone().into());
        put("state", self.state().to_uppercase().into());
        put("attempt", job.attempt.into());
        for (name, time) in [
            ("submit_time", &job.submit_time),
            ("start_time", &job.start_time),
            ("complete_time", &job.complete_time),
            ("expire_time", &job.expire_time),
            ("purge_time", &job.purge_time),
        ] {
            if let Some(time) = time {
                put(name, time.to_string().into());
            }
        }
        match &job.outcome {
            Some(job::Outcome::Response(response)) => {
                put("response", told(response, &job.id, result_url));
            }
            Some(job::Outcome::Error(status)) => {
                let reason = from_rpc_status(status).get_details_error_info().map(|i| i.reason);
                let code = code_name(Code::from_i32(status.code));
                put(
                    "error",
                    json!({ "code": code, "number": status.code, "message": cut(&status.message),
                            "reason": reason }),
                );
            }
            None => {}
        }
        if self.purged {
            put("purged", true.into());
        }
        let kind = format!("job.{}", self.state());
        json!({ "type": kind, "timestamp": now.to_proto().to_string(), "data": data }).to_string()
    }
}

fn told(response: &Response, id: &str, result_url: Option<&str>) -> Value {
    let mut told = json!({ "type": response.r#type, "size": response.size });
    if response.message.len() as u64 == response.size {
        told["message"] = STANDARD.encode(&response.message).into();
    } else if let Some(prefix) = result_url {
        told["url"] = format!("{prefix}{id}").into();
    }
    told
}

/// The beginning of a long text.
fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(2_000)).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

//! What a receiver is told.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message;
use queuebridge_proto::codes::code_name;
use queuebridge_proto::gather::{LIST_TYPE, total};
use queuebridge_proto::outcome::from_rpc_status;
use queuebridge_proto::v1::{
    Branch, Gather, GatherReport, Job, NotifyRequest, PayloadRef, Response, State, job, outcome,
};
use queuebridge_proto::{JobId, UnixMillis};
use queuebridge_store::Record;
use queuebridge_store::gather::method_of;
use serde_json::{Map, Value, json};
use tonic::Code;
use tonic_types::StatusExt;

/// The largest answer that is told; a larger one is fetched. Receivers may refuse
/// bodies of 20 kB, and Base64 makes four bytes of three.
const INLINE: usize = 12_000;

/// A finished job, ready to be told.
pub(super) struct Event {
    id: JobId,
    tenant: String,
    purged: bool,
    job: Job,
}

impl Event {
    pub(super) fn new(id: &JobId, method: &str, tenant: &str, mut record: Record) -> Self {
        let purged = record.outcome.is_none();
        let report = record.outcome.as_mut().and_then(|outcome| outcome.gather.take());
        let mut left = INLINE;
        let mut job = Job { id: id.to_string(), ..shown(id, method, record, &mut left) };
        if let Some(report) = report {
            let gather = gather(id, *report, &mut left);
            if let Some(response) = list_of(&mut job) {
                let list = gather.encode_to_vec();
                response.size = list.len() as u64;
                // It stands beside it in any case.
                response.message = if list.len() > INLINE { Bytes::new() } else { list.into() };
            }
            job.gather = Some(Box::new(gather));
        }
        Self { id: *id, tenant: tenant.to_owned(), purged, job }
    }

    /// The event for a receiver that takes less: answers are fetched instead.
    pub(super) fn without_answers(&self) -> Self {
        let mut job = self.job.clone();
        let branches = job.gather.iter_mut().flat_map(|gather| &mut gather.branches);
        let branches = branches.filter_map(|branch| branch.job.as_mut()?.outcome.as_mut());
        for outcome in branches.chain(job.outcome.as_mut()) {
            if let job::Outcome::Response(response) = outcome {
                response.message = Bytes::new();
            }
        }
        Self { id: self.id, tenant: self.tenant.clone(), purged: self.purged, job }
    }

    /// The callback's id, the same in every try.
    pub(super) fn id(&self) -> String {
        self.id.to_string()
    }

    /// What a gRPC receiver gets.
    pub(super) fn notification(&self) -> NotifyRequest {
        let tenant = self.tenant.clone();
        NotifyRequest { id: self.id(), job: Some(self.job.clone()), tenant }
    }

    /// How the job ended, in lower case.
    pub(super) fn state(&self) -> &'static str {
        state_name(self.job.state())
    }

    /// Whose job it is.
    pub(super) fn tenant(&self) -> &str {
        &self.tenant
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
        put("tenant", self.tenant.clone().into());
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
        if let Some((name, value)) = outcome(job, result_url) {
            put(name, value);
        }
        if let Some(gather) = &job.gather {
            for (name, count) in [
                ("total", gather.total),
                ("succeeded", gather.succeeded),
                ("failed", gather.failed),
            ] {
                put(name, count.into());
            }
            // Large groups are not listed.
            if !gather.branches.is_empty() {
                put("branches", gather.branches.iter().map(told_branch).collect());
            }
        }
        if self.purged {
            put("purged", true.into());
        }
        let kind = format!("job.{}", self.state());
        json!({ "type": kind, "timestamp": now.to_proto().to_string(), "data": data }).to_string()
    }
}

/// A job without its id. `left` is how much of an answer may still be told.
fn shown(id: &JobId, method: &str, record: Record, left: &mut usize) -> Job {
    let purge_at = record.purge_at(id);
    let stored = record.outcome.unwrap_or_default();
    let r#type = stored.response_type;
    let outcome = stored.result.map(|result| match result {
        outcome::Result::Error(status) => job::Outcome::Error(status),
        outcome::Result::Response(message) => {
            let size = message.len() as u64;
            let rest = left.checked_sub(message.len());
            *left = rest.unwrap_or(*left);
            let message = if rest.is_some() { message } else { Bytes::new() };
            job::Outcome::Response(Response { message, size, r#type, ..Response::default() })
        }
        outcome::Result::ResponseRef(PayloadRef { size, sha256, .. }) => {
            job::Outcome::Response(Response { size, sha256, r#type, ..Response::default() })
        }
    });
    let time = |at: Option<UnixMillis>| at.map(UnixMillis::to_proto);
    Job {
        method: if record.method.is_empty() { method.to_owned() } else { record.method },
        state: record.state as i32,
        submit_time: time(Some(id.submitted_at())),
        start_time: time(record.started_at),
        complete_time: time(record.completed_at),
        expire_time: time(Some(id.expires_at())),
        purge_time: time(purge_at),
        attempt: record.attempt,
        retry_of: stored.retry_of,
        outcome,
        ..Job::default()
    }
}

/// The branches as they were at the verdict. They have no ids here: only gateways can
/// sign them.
fn gather(id: &JobId, report: GatherReport, left: &mut usize) -> Gather {
    let plan = report.plan.unwrap_or_default();
    let mut gather = Gather {
        rule: plan.rule.clone(),
        total: total(&plan),
        succeeded: report.succeeded,
        failed: report.failed,
        branches: Vec::new(),
    };
    let each = plan.branches.iter().map(|branch| branch.name.clone()).zip(report.branches);
    let each = (0..).zip(each);
    for (index, (name, then)) in each {
        let method = method_of(&plan, index);
        let id = id.branch(index, method, UnixMillis(plan.expires_at));
        let record = Record::of_finished(then);
        let late = !record.is_terminal();
        let job = Some(shown(&id, method, record, left));
        gather.branches.push(Branch { name, job, late });
    }
    gather
}

/// The answer, where it is the list of the branches.
fn list_of(job: &mut Job) -> Option<&mut Response> {
    match &mut job.outcome {
        Some(job::Outcome::Response(response)) if response.r#type == LIST_TYPE => Some(response),
        _ => None,
    }
}

fn outcome(job: &Job, result_url: Option<&str>) -> Option<(&'static str, Value)> {
    Some(match job.outcome.as_ref()? {
        // In JSON the branches are the list.
        job::Outcome::Response(response) if response.r#type == LIST_TYPE => return None,
        job::Outcome::Response(response) => ("response", told(response, &job.id, result_url)),
        job::Outcome::Error(status) => {
            let reason = from_rpc_status(status).get_details_error_info().map(|i| i.reason);
            let code = code_name(Code::from_i32(status.code));
            let message = cut(&status.message);
            let error = json!({ "code": code, "number": status.code, "message": message, "reason": reason });
            ("error", error)
        }
    })
}

fn told_branch(branch: &Branch) -> Value {
    let job = branch.job.clone().unwrap_or_default();
    let state = match job.state() {
        State::Accepted => "ACCEPTED".to_owned(),
        State::Running => "RUNNING".to_owned(),
        state => state_name(state).to_uppercase(),
    };
    let mut told = json!({ "name": branch.name, "state": state, "attempt": job.attempt });
    if let Some((name, value)) = outcome(&job, None) {
        told[name] = value;
    }
    told
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Succeeded => "succeeded",
        State::Cancelled => "cancelled",
        State::Expired => "expired",
        _ => "failed",
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

#[cfg(test)]
mod tests {
    use super::*;
    use queuebridge_proto::Keyring;
    use queuebridge_proto::job_id::Claims;
    use queuebridge_proto::v1::{FinishedJob, GatherPlan, Outcome, PlannedBranch};

    fn told(report: GatherReport) -> (Value, Job) {
        let claims = Claims {
            uuid: uuid::Uuid::now_v7(),
            tenant: "t",
            method: "/a.B/C",
            expires_at: UnixMillis(1_700_000_000_000),
            retention: std::time::Duration::from_secs(60),
            at_least_once: false,
            reply_shard: None,
        };
        let id = JobId::mint_gather(&claims, &Keyring::single(&[1; 32]));
        let outcome = Outcome {
            result: Some(outcome::Result::Response(Bytes::new())),
            response_type: LIST_TYPE.into(),
            gather: Some(Box::new(report)),
            ..Outcome::default()
        };
        let record =
            Record { state: State::Succeeded, outcome: Some(outcome), ..Record::new("/a.B/C") };
        let event = Event::new(&id, "/a.B/C", "t", record);
        let json: Value =
            serde_json::from_str(&event.to_json(Some("https://results/"), UnixMillis(0))).unwrap();
        let notification = event.notification();
        // Whatever else is told, the tenant is.
        assert_eq!((&json["data"]["tenant"], notification.tenant.as_str()), (&"t".into(), "t"));
        (json, notification.job.unwrap())
    }

    #[test]
    fn a_list_of_branches_is_told_once_and_the_counts_always() {
        let branch = |name: &str| PlannedBranch { name: name.into(), method: "/a.B/C".into() };
        let plan = GatherPlan { branches: vec![branch("a")], ..GatherPlan::default() };
        let end = FinishedJob { state: State::Succeeded as i32, ..FinishedJob::default() };
        let listed = GatherReport {
            plan: Some(plan),
            branches: vec![end],
            succeeded: 1,
            ..GatherReport::default()
        };
        let (json, job) = told(listed);
        let data = &json["data"];
        assert_eq!(
            (&data["total"], &data["succeeded"], &data["failed"]),
            (&1.into(), &1.into(), &0.into())
        );
        assert_eq!((&data["branches"][0]["name"], data.get("response")), (&"a".into(), None));
        let Some(job::Outcome::Response(response)) = &job.outcome else { panic!() };
        assert_eq!(Gather::decode(&response.message[..]).unwrap(), *job.gather.unwrap());
    }

    #[test]
    fn of_a_large_group_the_counts_are_told() {
        let plan = GatherPlan { total: 1_000, group: true, ..GatherPlan::default() };
        let large =
            GatherReport { plan: Some(plan), succeeded: 999, failed: 1, ..GatherReport::default() };
        let data = told(large).0["data"].clone();
        assert_eq!((&data["total"], &data["succeeded"]), (&1_000.into(), &999.into()));
        assert_eq!((&data["failed"], data.get("branches")), (&1.into(), None));
    }
}

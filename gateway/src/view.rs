//! A job as callers see it.

use bytes::Bytes;
use prost::Message;
use queuebridge_proto::JobId;
use queuebridge_proto::gather::{LIST_TYPE, is_success, total};
use queuebridge_proto::method::tag;
use queuebridge_proto::time::duration_to_proto;
use queuebridge_proto::v1::{
    self, Branch, Gather, GatherPlan, Job, PayloadRef, Response, State, Stream, outcome,
};
use queuebridge_store::Record;
use queuebridge_store::record::is_terminal;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use tonic::Code;

/// A job that was accepted and not claimed yet.
#[must_use]
pub fn accepted(id: &JobId, method: String) -> Job {
    Job {
        id: id.to_string(),
        method,
        state: State::Accepted as i32,
        submit_time: Some(id.submitted_at().to_proto()),
        expire_time: Some(id.expires_at().to_proto()),
        result_retention: Some(duration_to_proto(id.retention())),
        ..Job::default()
    }
}

/// A job with a record. A response that lies in the payload store and was not fetched
/// before is shown by its size.
#[must_use]
pub fn recorded(id: &JobId, method: String, record: Record) -> Job {
    let purge_at = record.purge_at(id);
    let outcome = record.outcome.unwrap_or_default();
    Job {
        state: record.state as i32,
        start_time: record.started_at.map(|at| at.to_proto()),
        complete_time: record.completed_at.map(|at| at.to_proto()),
        purge_time: purge_at.map(|at| at.to_proto()),
        retry_of: outcome.retry_of,
        attempt: record.attempt,
        progress: record.progress,
        cancel_requested: record.cancel_requested,
        initial_metadata: outcome.initial_metadata,
        trailing_metadata: outcome.trailing_metadata,
        stream: outcome
            .stream
            .map(|stream| Stream { messages: stream.messages, size: stream.size }),
        outcome: outcome.result.map(|result| shown(result, outcome.response_type)),
        ..accepted(id, method)
    }
}

fn shown(result: outcome::Result, r#type: String) -> v1::job::Outcome {
    v1::job::Outcome::Response(match result {
        outcome::Result::Error(status) => return v1::job::Outcome::Error(status),
        outcome::Result::Response(message) => {
            let size = message.len() as u64;
            Response { message, size, r#type, ..Response::default() }
        }
        outcome::Result::ResponseRef(PayloadRef { size, sha256, .. }) => {
            Response { size, sha256, r#type, ..Response::default() }
        }
    })
}

/// A gather: `branches` are those of the plan, in their order, each as a job of its own.
#[must_use]
pub fn gather(plan: &GatherPlan, branches: Vec<Job>, late: &[bool]) -> Gather {
    let rule = plan.rule.clone().unwrap_or_default();
    let (mut succeeded, mut failed) = (0, 0);
    for job in branches.iter().filter(|job| is_terminal(job.state())) {
        let code = match &job.outcome {
            Some(v1::job::Outcome::Error(status)) => Code::from_i32(status.code),
            _ => Code::Ok,
        };
        let success = is_success(&rule, job.state(), code);
        succeeded += u32::from(success);
        failed += u32::from(!success);
    }
    let named = plan.branches.iter().map(|branch| branch.name.clone()).zip(branches);
    let late = late.iter().copied().chain(std::iter::repeat(false));
    let branches = named.zip(late).map(|((name, job), late)| Branch { name, job: Some(job), late });
    let branches: Vec<Branch> = branches.collect();
    let total = total(plan);
    Gather { rule: Some(rule), total, succeeded, failed, branches }
}

/// Where the list of the branches is the answer: puts it in.
pub fn answer_with_list(job: &mut Job, gather: &Gather) {
    if let Some(v1::job::Outcome::Response(response)) = &mut job.outcome
        && response.r#type == LIST_TYPE
    {
        response.message = gather.encode_to_vec().into();
        response.size = response.message.len() as u64;
    }
}

/// Leaves answers out of a list, from its end on, until those that are left have at most
/// so many bytes together: each can be had by its branch's id.
pub fn shorten(branches: &mut [Job], most: usize) {
    let mut left = most;
    for job in branches {
        if let Some(v1::job::Outcome::Response(response)) = &mut job.outcome {
            match left.checked_sub(response.message.len()) {
                Some(rest) => left = rest,
                None => {
                    response.sha256 = Bytes::copy_from_slice(&Sha256::digest(&response.message));
                    response.message = Bytes::new();
                }
            }
        }
    }
}

/// The method names this gateway has seen, by the tag that job ids carry: a job
/// without a record has no other place to keep its method.
#[derive(Debug, Default)]
pub struct Methods(RwLock<HashMap<[u8; 4], String>>);

/// Wildcard routes let callers name any method: a bound on what they can fill.
const MAX_METHODS: usize = 10_000;

impl Methods {
    /// Remembers a method.
    pub fn learn(&self, method: &str) {
        let tag = tag(method);
        if self.0.read().unwrap_or_else(PoisonError::into_inner).contains_key(&tag) {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MAX_METHODS {
            known.insert(tag, method.to_owned());
        }
    }

    /// The method of a job, or nothing.
    #[must_use]
    pub fn of(&self, id: &JobId) -> String {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&id.method_tag()).cloned().unwrap_or_default()
    }
}

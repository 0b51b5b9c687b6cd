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
            Some(v1::job::Outcome::Response(_)) => Code::Ok,
            None => Code::Unknown,
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

/// Leaves of a job only how it stands: nothing that its caller or its handler has said.
pub fn withhold(job: &mut Job) {
    job.outcome = None;
    job.progress = None;
    job.stream = None;
    job.gather = None;
    job.initial_metadata.clear();
    job.trailing_metadata.clear();
}

/// Whether the list of the branches is the answer.
#[must_use]
pub fn answer_is_list(job: &Job) -> bool {
    matches!(&job.outcome, Some(v1::job::Outcome::Response(of)) if of.r#type == LIST_TYPE)
}

/// Puts the list in as the answer.
pub fn answer_with_list(job: &mut Job, gather: &Gather) {
    if let Some(v1::job::Outcome::Response(response)) = &mut job.outcome {
        response.message = gather.encode_to_vec().into();
        response.size = response.message.len() as u64;
    }
}

/// What a branch has in a list besides its job: a name of at most 64 characters, and tags.
const AROUND: usize = 96;
/// What is left of an error's text where there is no room.
const SHORT: usize = 200;

/// Makes a list fit into so many bytes: what is large in its jobs, answers above all, is
/// left out from the end of the list on. Each can be had by its branch's id.
pub fn shorten(branches: &mut [Job], most: usize) {
    let size = |job: &Job| job.encoded_len() + AROUND;
    if branches.iter().map(size).sum::<usize>() <= most {
        return;
    }
    let short: Vec<Job> = branches.iter().map(|job| shortened(job.clone())).collect();
    let mut left = most.saturating_sub(short.iter().map(size).sum());
    for (job, short) in branches.iter_mut().zip(short) {
        match left.checked_sub(job.encoded_len().saturating_sub(short.encoded_len())) {
            Some(rest) => left = rest,
            None => *job = short,
        }
    }
}

/// A job without what may be large in it.
pub(crate) fn shortened(mut job: Job) -> Job {
    match &mut job.outcome {
        Some(v1::job::Outcome::Response(response)) if !response.message.is_empty() => {
            response.sha256 = Bytes::copy_from_slice(&Sha256::digest(&response.message));
            response.message = Bytes::new();
        }
        Some(v1::job::Outcome::Error(status)) => {
            status.details.clear();
            let end = (0..=SHORT).rev().find(|at| status.message.is_char_boundary(*at));
            status.message.truncate(end.unwrap_or(0));
        }
        _ => {}
    }
    if let Some(progress) = &mut job.progress {
        progress.partial_result = Bytes::new();
    }
    job.initial_metadata.clear();
    job.trailing_metadata.clear();
    job
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

#[cfg(test)]
mod tests {
    use super::*;
    use queuebridge_proto::v1::{Metadatum, Progress};

    fn job(outcome: v1::job::Outcome) -> Job {
        Job { id: "i".repeat(71), outcome: Some(outcome), ..Job::default() }
    }

    #[test]
    fn whatever_is_large_is_left_out_from_the_end_on() {
        let large = Bytes::from(vec![7; 2_000]);
        let answer = Response { size: 2_000, message: large.clone(), ..Response::default() };
        let message = "\u{e9}".repeat(1_000);
        let error = tonic_types::Status { code: 2, message, details: Vec::new() };
        let answered = job(v1::job::Outcome::Response(answer));
        let failed = job(v1::job::Outcome::Error(error));
        let progress = Progress { partial_result: large, ..Progress::default() };
        let metadatum = Metadatum { key: "k".repeat(2_000), value: None };
        let busy =
            Job { progress: Some(progress), trailing_metadata: vec![metadatum], ..Job::default() };
        let mut all = vec![answered.clone(), answered.clone(), failed, busy];
        shorten(&mut all, 4_000);
        assert!(all.iter().map(Job::encoded_len).sum::<usize>() < 4_000);
        assert_eq!(all[0], answered);
        let Some(v1::job::Outcome::Response(second)) = &all[1].outcome else { panic!() };
        assert_eq!((second.message.len(), second.size, second.sha256.len()), (0, 2_000, 32));
        let Some(v1::job::Outcome::Error(third)) = &all[2].outcome else { panic!() };
        assert_eq!((third.code, third.message.len()), (2, 200));
        let mut same = vec![answered.clone(); 3];
        shorten(&mut same, 10_000);
        assert_eq!(same, vec![answered; 3]);
    }
}

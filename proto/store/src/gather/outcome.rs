//! What a gather ends with: its answer or error, and the report on every branch.

use super::Gathers;
use crate::payload::{self, PayloadError};
use crate::record::{Record, Token};
use crate::result::StoreError;
use bytes::{Bytes, BytesMut};
use prost::Message;
use queuebridge_proto::JobId;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::gather::{self, LIST_TYPE};
use queuebridge_proto::outcome::{cancelled, failure, from_rpc_status};
use queuebridge_proto::v1::gather_rule::Answer;
use queuebridge_proto::v1::outcome::Result as Kind;
use queuebridge_proto::v1::{FinishedJob, GatherPlan, GatherReport, Outcome, PayloadRef, State};
use sha2::{Digest, Sha256};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

/// How it was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Met,
    Failed,
    Expired,
    Cancelled,
}

impl Gathers {
    /// The end of a gather, no larger than a record may be.
    pub(super) async fn outcome(
        &self,
        id: &JobId,
        plan: GatherPlan,
        records: Vec<Option<Record>>,
        verdict: Verdict,
        decided_by: u32,
    ) -> Result<(State, Outcome), StoreError> {
        let named = plan.branches.iter().map(|branch| branch.method.as_str());
        let branches: Vec<FinishedJob> = named
            .zip(records)
            .map(|(method, record)| record.unwrap_or_else(|| Record::new(method)).into_finished())
            .collect();
        let (state, outcome) = match verdict {
            Verdict::Met => (State::Succeeded, self.answer(id, &plan, &branches).await?),
            Verdict::Failed => (State::Failed, failed(&plan, &branches)),
            Verdict::Expired => (State::Expired, expired(&plan, &branches)),
            Verdict::Cancelled => (State::Cancelled, cancelled()),
        };
        let report = GatherReport { plan: Some(plan), decided_by, branches };
        let outcome = Outcome { gather: Some(Box::new(report)), ..outcome };
        Ok(bounded(state, outcome, self.record_bytes))
    }

    async fn answer(
        &self,
        id: &JobId,
        plan: &GatherPlan,
        branches: &[FinishedJob],
    ) -> Result<Outcome, StoreError> {
        match plan.rule.as_ref().and_then(|rule| rule.answer.as_ref()) {
            Some(Answer::Primary(name)) => {
                let primary = plan.branches.iter().position(|branch| branch.name == *name);
                let primary = primary.and_then(|index| branches.get(index));
                Ok(primary.and_then(|branch| branch.outcome.clone()).unwrap_or_default())
            }
            Some(Answer::Merge(true)) => self.merged(id, &plan.tenant, branches).await,
            Some(Answer::Merge(false)) | None => Ok(Outcome {
                result: Some(Kind::Response(Bytes::new())),
                response_type: LIST_TYPE.to_owned(),
                ..Outcome::default()
            }),
        }
    }

    /// The answers one after the other, which is how Protobuf merges messages.
    async fn merged(
        &self,
        id: &JobId,
        tenant: &str,
        branches: &[FinishedJob],
    ) -> Result<Outcome, StoreError> {
        let (mut all, mut response_type) = (BytesMut::new(), String::new());
        for outcome in branches.iter().filter_map(|branch| branch.outcome.as_ref()) {
            let part = match &outcome.result {
                Some(Kind::Response(part)) => part.clone(),
                Some(Kind::ResponseRef(at)) => self.fetch(at).await?,
                Some(Kind::Error(_)) | None => continue,
            };
            all.extend_from_slice(&part);
            response_type.clone_from(&outcome.response_type);
        }
        let all = all.freeze();
        let result = match &self.payloads {
            // Half of a record is left for the report.
            Some(payloads) if all.len() > self.record_bytes / 2 => {
                let key = payload::answer_key(tenant, id, &Token::random().to_string());
                Kind::ResponseRef(payloads.put(&key, all).await.map_err(unavailable)?)
            }
            _ => Kind::Response(all),
        };
        Ok(Outcome { result: Some(result), response_type, ..Outcome::default() })
    }

    async fn fetch(&self, at: &PayloadRef) -> Result<Bytes, StoreError> {
        let payloads = self.payloads.as_ref();
        let payloads =
            payloads.ok_or_else(|| StoreError("there is no payload store".to_owned()))?;
        payloads.get(at).await.map_err(unavailable)
    }
}

fn unavailable(error: PayloadError) -> StoreError {
    StoreError(error.to_string())
}

/// What was needed, and what there was.
fn expired(plan: &GatherPlan, branches: &[FinishedJob]) -> Outcome {
    let total = u32::try_from(branches.len()).unwrap_or(u32::MAX);
    let rule = plan.rule.clone().unwrap_or_default();
    let succeeded = |branch: &&FinishedJob| {
        let code = gather::code(branch.state(), branch.outcome.as_ref());
        gather::is_success(&rule, branch.state(), code)
    };
    let there = branches.iter().filter(succeeded).count();
    let need = gather::need(&rule, total);
    let text = format!("{there} of {total} branches succeeded by the deadline, and {need} had to");
    let status = error::status(Code::DeadlineExceeded, reason::JOB_EXPIRED, text);
    failure(&status, &MetadataMap::new())
}

/// The first failure, in the order of the branches, gives the code.
fn failed(plan: &GatherPlan, branches: &[FinishedJob]) -> Outcome {
    let rule = plan.rule.clone().unwrap_or_default();
    let total = u32::try_from(branches.len()).unwrap_or(u32::MAX);
    let (mut succeeded, mut unsuccessful, mut first) = (0, 0, None);
    for (branch, ended) in plan.branches.iter().zip(branches) {
        if !crate::record::is_terminal(ended.state()) {
            continue;
        }
        let code = gather::code(ended.state(), ended.outcome.as_ref());
        if gather::is_success(&rule, ended.state(), code) {
            succeeded += 1;
        } else {
            unsuccessful += 1;
            first.get_or_insert((branch.name.as_str(), code, ended));
        }
    }
    let (name, code, why) = match first {
        Some((name, code, ended)) => (name, code, message(ended)),
        None => ("", Code::Aborted, String::new()),
    };
    // A listed code may be all there is of a primary branch that failed.
    let code = if code == Code::Ok { Code::Aborted } else { code };
    let need = gather::need(&rule, total);
    let text = format!(
        "{unsuccessful} of {total} branches failed, and {need} had to succeed; {name}: {why}"
    );
    let status = error::status_with(
        code,
        reason::GATHER_FAILED,
        text,
        [
            ("branch", name.to_owned()),
            ("need", need.to_string()),
            ("succeeded", succeeded.to_string()),
            ("failed", unsuccessful.to_string()),
        ],
    );
    failure(&status, &MetadataMap::new())
}

fn message(ended: &FinishedJob) -> String {
    match ended.outcome.as_ref().and_then(|outcome| outcome.result.as_ref()) {
        Some(Kind::Error(status)) => from_rpc_status(status).message().to_owned(),
        _ => ended.state().as_str_name().to_owned(),
    }
}

/// What does not fit into a record is left out: first the answers in the report, which
/// the branches' own records have, then the metadata and details there, at last the
/// answer.
fn bounded(state: State, mut outcome: Outcome, most: usize) -> (State, Outcome) {
    if outcome.encoded_len() <= most {
        return (state, outcome);
    }
    each_branch(&mut outcome, |branch| {
        if let Some(Kind::Response(message)) = &branch.result {
            let sha256 = Bytes::copy_from_slice(&Sha256::digest(message));
            let at = PayloadRef { key: String::new(), size: message.len() as u64, sha256 };
            branch.result = Some(Kind::ResponseRef(at));
        }
    });
    if outcome.encoded_len() <= most {
        return (state, outcome);
    }
    each_branch(&mut outcome, |branch| {
        branch.initial_metadata.clear();
        branch.trailing_metadata.clear();
        if let Some(Kind::Error(status)) = &mut branch.result {
            status.details.clear();
            status.message.truncate(floor(&status.message, 200));
        }
    });
    if outcome.encoded_len() <= most {
        return (state, outcome);
    }
    let message = "the answer is larger than may be stored; the branches have theirs";
    let status = error::status(Code::ResourceExhausted, reason::RESPONSE_TOO_LARGE, message);
    let refused = refused(&status, outcome.gather);
    (State::Failed, refused)
}

fn refused(status: &Status, gather: Option<Box<GatherReport>>) -> Outcome {
    Outcome { gather, ..failure(status, &MetadataMap::new()) }
}

fn each_branch(outcome: &mut Outcome, mut change: impl FnMut(&mut Outcome)) {
    let branches = outcome.gather.iter_mut().flat_map(|report| report.branches.iter_mut());
    branches.filter_map(|branch| branch.outcome.as_mut()).for_each(&mut change);
}

fn floor(text: &str, most: usize) -> usize {
    (0..=text.len().min(most)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

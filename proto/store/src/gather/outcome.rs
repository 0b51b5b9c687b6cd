//! What a gather ends with: its answer or error, and the report on every branch.

use super::{Gathers, method_of};
use crate::payload::{self, PayloadError};
use crate::record::{Record, Token};
use crate::result::StoreError;
use bytes::{Bytes, BytesMut};
use prost::Message;
use queuebridge_proto::JobId;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::gather::{self, LIST_TYPE, Standing};
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
        (standing, records): (Standing, Vec<Option<Record>>),
        verdict: Verdict,
        decided_by: u32,
    ) -> Result<(State, Outcome), StoreError> {
        let branches: Vec<FinishedJob> = (0..)
            .zip(records)
            .map(|(index, record)| {
                let record = record.unwrap_or_else(|| Record::new(method_of(&plan, index)));
                record.into_finished()
            })
            .collect();
        let (state, outcome) = match verdict {
            Verdict::Met => (State::Succeeded, self.answer(id, &plan, &branches).await?),
            Verdict::Failed => (State::Failed, failed(&plan, &standing, &branches)),
            Verdict::Expired => (State::Expired, expired(&plan, &standing)),
            Verdict::Cancelled => (State::Cancelled, cancelled()),
        };
        let listed = plan.total == 0;
        let report = GatherReport {
            plan: Some(plan),
            decided_by,
            branches: if listed { branches } else { Vec::new() },
            succeeded: if listed { 0 } else { standing.succeeded },
            failed: if listed { 0 } else { standing.failed },
        };
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
fn expired(plan: &GatherPlan, standing: &Standing) -> Outcome {
    let Standing { total, succeeded, .. } = standing;
    let need = gather::need(&plan.rule.clone().unwrap_or_default(), *total);
    let text =
        format!("{succeeded} of {total} branches succeeded by the deadline, and {need} had to");
    let status = error::status(Code::DeadlineExceeded, reason::JOB_EXPIRED, text);
    failure(&status, &MetadataMap::new())
}

/// The first failure, in the order of the branches, gives the code.
fn failed(plan: &GatherPlan, standing: &Standing, branches: &[FinishedJob]) -> Outcome {
    let rule = plan.rule.clone().unwrap_or_default();
    let Standing { total, succeeded, failed, .. } = standing;
    let first = branches.iter().enumerate().find_map(|(index, ended)| {
        let code = gather::code(ended.state(), ended.outcome.as_ref());
        let is_failure = crate::record::is_terminal(ended.state())
            && !gather::is_success(&rule, ended.state(), code);
        is_failure.then_some((index, code, ended))
    });
    let (name, code, why) = match first {
        Some((index, code, ended)) => {
            let name = plan.branches.get(index).map_or("one of them", |branch| &branch.name);
            (name, code, message(ended))
        }
        None => ("", Code::Aborted, String::new()),
    };
    // A listed code may be all there is of a primary branch that failed.
    let code = if code == Code::Ok { Code::Aborted } else { code };
    let need = gather::need(&rule, *total);
    let text =
        format!("{failed} of {total} branches failed, and {need} had to succeed; {name}: {why}");
    let status = error::status_with(
        code,
        reason::GATHER_FAILED,
        text,
        [
            ("branch", name.to_owned()),
            ("need", need.to_string()),
            ("succeeded", succeeded.to_string()),
            ("failed", failed.to_string()),
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

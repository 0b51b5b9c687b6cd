//! What a gather ends with: its answer or error, and the report on every branch.

use super::{Gathers, method_of};
use crate::record::{Record, is_terminal};
use crate::result::StoreError;
use bytes::Bytes;
use prost::Message;
use queuebridge_proto::JobId;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::gather::{self, Standing};
use queuebridge_proto::outcome::{cancelled, failure, from_rpc_status};
use queuebridge_proto::v1::outcome::Result as Kind;
use queuebridge_proto::v1::{FinishedJob, GatherPlan, GatherReport, Outcome, PayloadRef, State};
use sha2::{Digest, Sha256};
use tonic::Code;
use tonic::metadata::MetadataMap;

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
            Verdict::Met => match self.answer(id, &plan, &branches).await? {
                Ok(answer) => (State::Succeeded, answer),
                Err(status) => (State::Failed, failure(&status, &MetadataMap::new())),
            },
            Verdict::Failed => (State::Failed, failed(id, &plan, &standing, &branches)),
            Verdict::Expired => (State::Expired, expired(&plan, &standing)),
            Verdict::Cancelled => (State::Cancelled, cancelled()),
        };
        let listed = plan.total == 0;
        let branches = if listed { branches } else { Vec::new() };
        // Those that expired with the gather count for nobody, and have ended.
        let expired = branches.iter().filter(|branch| !in_time(branch, id));
        let expired = expired.filter(|branch| is_terminal(branch.state())).count();
        let expired = u32::try_from(expired).unwrap_or(u32::MAX);
        let retry_of = plan.retry_of.clone();
        let report = GatherReport {
            plan: Some(GatherPlan { mac: Bytes::new(), ..plan }),
            decided_by,
            branches,
            succeeded: standing.succeeded,
            failed: standing.failed.saturating_add(expired),
        };
        let outcome = Outcome { gather: Some(Box::new(report)), retry_of, ..outcome };
        Ok(bounded(state, outcome, self.record_bytes))
    }
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
fn failed(id: &JobId, plan: &GatherPlan, standing: &Standing, branches: &[FinishedJob]) -> Outcome {
    let rule = plan.rule.clone().unwrap_or_default();
    let Standing { total, succeeded, failed, .. } = standing;
    let first = branches.iter().enumerate().find_map(|(index, ended)| {
        let code = gather::code(ended.state(), ended.outcome.as_ref());
        let is_failure = in_time(ended, id) && !gather::is_success(&rule, ended.state(), code);
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

fn in_time(branch: &FinishedJob, gather: &JobId) -> bool {
    is_terminal(branch.state()) && branch.completed_at < gather.expires_at().0
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
            let at = PayloadRef { size: message.len() as u64, sha256, ..PayloadRef::default() };
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
    let Outcome { gather, retry_of, .. } = outcome;
    (State::Failed, Outcome { gather, retry_of, ..failure(&status, &MetadataMap::new()) })
}

fn each_branch(outcome: &mut Outcome, mut change: impl FnMut(&mut Outcome)) {
    let branches = outcome.gather.iter_mut().flat_map(|report| report.branches.iter_mut());
    branches.filter_map(|branch| branch.outcome.as_mut()).for_each(&mut change);
}

fn floor(text: &str, most: usize) -> usize {
    (0..=text.len().min(most)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

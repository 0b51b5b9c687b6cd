//! The answer of a gather that is met. What it would be made of may be gone by now: then
//! the gather has failed, and says why.

use super::Gathers;
use crate::payload::{self, PayloadError};
use crate::record::{Record, Token};
use crate::result::StoreError;
use bytes::{Bytes, BytesMut};
use queuebridge_proto::JobId;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::gather::{LIST_TYPE, MAX_MERGED_BYTES};
use queuebridge_proto::v1::gather_rule::Answer;
use queuebridge_proto::v1::outcome::Result as Kind;
use queuebridge_proto::v1::{FinishedJob, GatherPlan, Outcome, PayloadRef, State};
use tonic::{Code, Status};

/// An answer, or why there is none and never will be.
type Answered = Result<Outcome, Status>;

impl Gathers {
    /// # Errors
    /// When a store cannot be asked.
    pub(super) async fn answer(
        &self,
        id: &JobId,
        plan: &GatherPlan,
        branches: &[FinishedJob],
    ) -> Result<Answered, StoreError> {
        match plan.rule.as_ref().and_then(|rule| rule.answer.as_ref()) {
            Some(Answer::Primary(name)) => {
                let primary = plan.branches.iter().position(|branch| branch.name == *name);
                let primary = primary.and_then(|index| branches.get(index));
                let outcome = primary.and_then(|branch| branch.outcome.clone());
                Ok(outcome.ok_or_else(|| purged(name)))
            }
            Some(Answer::Merge(true)) => self.merged(id, plan, branches).await,
            Some(Answer::Merge(false)) | None => Ok(Ok(Outcome {
                result: Some(Kind::Response(Bytes::new())),
                response_type: LIST_TYPE.to_owned(),
                ..Outcome::default()
            })),
        }
    }

    /// The answers one after the other, which is how Protobuf merges messages.
    async fn merged(
        &self,
        id: &JobId,
        plan: &GatherPlan,
        branches: &[FinishedJob],
    ) -> Result<Answered, StoreError> {
        let (parts, size) = match parts(plan, branches) {
            Ok(parts) => parts,
            Err(status) => return Ok(Err(status)),
        };
        let mut all = BytesMut::with_capacity(size);
        let mut response_type = String::new();
        for (part, part_type) in parts {
            match part {
                Part::Here(bytes) => all.extend_from_slice(bytes),
                Part::Stored(at) => match self.fetch(at).await? {
                    Ok(bytes) => all.extend_from_slice(&bytes),
                    Err(status) => return Ok(Err(status)),
                },
            }
            if response_type.is_empty() {
                part_type.clone_into(&mut response_type);
            }
        }
        let all = all.freeze();
        let result = match &self.payloads {
            // Half of a record is left for the report.
            Some(payloads) if all.len() > self.record_bytes / 2 => {
                let key = payload::answer_key(&plan.tenant, id, &Token::random().to_string());
                let stored = payloads.put(&key, all).await;
                Kind::ResponseRef(stored.map_err(|error| StoreError(error.to_string()))?)
            }
            _ => Kind::Response(all),
        };
        Ok(Ok(Outcome { result: Some(result), response_type, ..Outcome::default() }))
    }

    /// Forgets the merged answer of a verdict that was not written, because another was.
    /// Only a merge makes an object, each under a key of its own: that of a primary branch
    /// is the branch's.
    pub(super) async fn forget_merged(&self, unwritten: &Record, known: Option<&Record>) {
        let (Some(at), Some(payloads)) = (merged_at(unwritten), &self.payloads) else { return };
        // A write that was repeated on its way is found to be done already.
        if known.and_then(merged_at).is_some_and(|known| known.key == at.key) {
            return;
        }
        if let Err(error) = payloads.delete(&at.key).await {
            tracing::warn!(%error, "a merged answer that nobody reads was not deleted");
        }
    }

    async fn fetch(&self, at: &PayloadRef) -> Result<Result<Bytes, Status>, StoreError> {
        let lost = || {
            let message =
                "the answer of a branch is missing from the payload store, or was altered";
            Ok(Err(error::status(Code::DataLoss, reason::PAYLOAD_LOST, message)))
        };
        let Some(payloads) = &self.payloads else { return lost() };
        match payloads.get(at).await {
            Ok(bytes) => Ok(Ok(bytes)),
            Err(PayloadError::Unavailable(error)) => Err(StoreError(error)),
            Err(PayloadError::Missing(_) | PayloadError::Altered(_)) => lost(),
        }
    }
}

enum Part<'a> {
    Here(&'a Bytes),
    Stored(&'a PayloadRef),
}

type Parts<'a> = Vec<(Part<'a>, &'a str)>;

/// What is to be merged, with its type, and how many bytes that is together. Before anything
/// is fetched it is known whether it fits.
fn parts<'a>(plan: &GatherPlan, branches: &'a [FinishedJob]) -> Result<(Parts<'a>, usize), Status> {
    let (mut parts, mut size) = (Vec::new(), 0);
    for (index, branch) in branches.iter().enumerate() {
        if branch.state() != State::Succeeded {
            continue;
        }
        let outcome = branch.outcome.as_ref();
        let Some((outcome, result)) = outcome.and_then(|of| Some((of, of.result.as_ref()?))) else {
            return Err(purged(plan.branches.get(index).map_or("", |planned| &planned.name)));
        };
        let part = match result {
            Kind::Response(part) => Part::Here(part),
            Kind::ResponseRef(at) => Part::Stored(at),
            Kind::Error(_) => continue,
        };
        size += match &part {
            Part::Here(bytes) => bytes.len() as u64,
            Part::Stored(at) => at.size,
        };
        let part_type = outcome.response_type.as_str();
        // A worker without descriptors does not know its type.
        if let Some((_, first)) = parts.iter().find(|(_, known): &&(_, &str)| !known.is_empty())
            && !part_type.is_empty()
            && part_type != *first
        {
            return Err(types_differ(first, part_type));
        }
        parts.push((part, part_type));
    }
    if size > MAX_MERGED_BYTES {
        let message = format!("the answers of the branches have {size} bytes together");
        let (code, reason) = (Code::ResourceExhausted, reason::RESPONSE_TOO_LARGE);
        return Err(error::status(code, reason, message));
    }
    Ok((parts, usize::try_from(size).unwrap_or(0)))
}

fn merged_at(verdict: &Record) -> Option<&PayloadRef> {
    let outcome = verdict.outcome.as_ref()?;
    let rule = outcome.gather.as_ref()?.plan.as_ref()?.rule.as_ref()?;
    match (&rule.answer, &outcome.result) {
        (Some(Answer::Merge(true)), Some(Kind::ResponseRef(at))) => Some(at),
        _ => None,
    }
}

fn types_differ(first: &str, other: &str) -> Status {
    let message = format!(
        "the rule merges the answers of the branches, which are a {first} and a {other}: \
         only messages of one type can be merged"
    );
    error::status(Code::FailedPrecondition, reason::ANSWER_TYPES_DIFFER, message)
}

fn purged(branch: &str) -> Status {
    let message = format!("the answer of the branch {branch} was deleted before the verdict");
    error::status(Code::NotFound, reason::RESULT_PURGED, message)
}

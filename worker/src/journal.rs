//! Log lines about a job's course: one for each failed attempt that is repeated, for each lease
//! that ran out, and for each job that has finally failed. The spans around them say job, method,
//! attempt and queue.

use crate::dispatch::Answer;
use crate::finish::Ending;
use crate::verdict::Reason;
use queuebridge_proto::JobId;
use queuebridge_proto::codes::code_name;
use queuebridge_proto::error::reason;
use queuebridge_proto::outcome::from_rpc_status;
use queuebridge_proto::v1::{Outcome, State, outcome::Result as Kind};
use queuebridge_store::Record;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The longest message of a status in a line, in bytes.
const MAX_MESSAGE: usize = 1024;
/// The longest reason in a line, in characters: as long as `google.rpc.ErrorInfo` allows.
const MAX_REASON: usize = 63;

/// An attempt has failed, and another one follows after this time.
pub(crate) fn retry(cause: Reason, last: &Ending, after: Duration) {
    let status = match last {
        Ending::Failed(status) => Some(status.clone()),
        Ending::Answered(answer) => error_of(answer),
        Ending::Expired | Ending::Cancelled => None,
    };
    let Told { code, reason, error } = status.as_ref().map(Told::of).unwrap_or_default();
    tracing::info!(%cause, code, reason, error, ?after, "an attempt failed and is repeated");
}

/// The claim took over from one whose lease had run out.
pub(crate) fn lapsed(attempt: u32) {
    let lost = attempt.saturating_sub(1);
    tracing::info!(
        lost,
        "the lease of an earlier attempt ran out: its worker was lost, or could not reach the store"
    );
}

/// The job has ended, for good.
pub(crate) fn ended(state: State, outcome: &Outcome) {
    if let (State::Failed | State::Expired, Some(Kind::Error(status))) = (state, &outcome.result) {
        let status = from_rpc_status(status);
        let Told { code, reason, error } = Told::of(&status);
        tracing::warn!(code, reason, error, "a job has failed");
    }
}

/// A job has expired, and no delivery of it has said so.
pub(crate) fn expired(job: &JobId, method: &str) {
    let code = code_name(Code::DeadlineExceeded);
    tracing::warn!(%job, method, code, reason = reason::JOB_EXPIRED, "a job has expired");
}

/// A gather was decided, by one of its branches or at its deadline.
pub(crate) fn decided(gather: &JobId, verdict: &Record) {
    let state = verdict.state.as_str_name();
    let error = verdict.outcome.as_ref().and_then(|outcome| outcome.result.as_ref());
    match (verdict.state, error) {
        (State::Failed | State::Expired, Some(Kind::Error(status))) => {
            let status = from_rpc_status(status);
            let Told { code, reason, error } = Told::of(&status);
            tracing::warn!(%gather, state, code, reason, error, "a job with branches has failed");
        }
        _ => tracing::info!(%gather, state, "a job with branches was decided"),
    }
}

fn error_of(answer: &Answer) -> Option<Status> {
    match &answer.outcome.result {
        Some(Kind::Error(status)) => Some(from_rpc_status(status)),
        _ => None,
    }
}

/// What a line has of a status.
#[derive(Default)]
struct Told {
    code: &'static str,
    reason: String,
    error: String,
}

impl Told {
    fn of(status: &Status) -> Self {
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        let message = status.message();
        let end = message.floor_char_boundary(MAX_MESSAGE);
        Self {
            code: code_name(status.code()),
            reason: reason.chars().take(MAX_REASON).collect(),
            error: message[..end].to_owned(),
        }
    }
}

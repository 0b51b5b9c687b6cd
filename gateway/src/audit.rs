//! The audit log: who has ended, deleted or repeated jobs, who was refused, and what this
//! gateway lets in. Lines of the log with the target `queuebridge::audit`, so that a filter
//! can send them elsewhere; nothing of requests, answers and credentials is in them. Names
//! that came from elsewhere are [`Printable`], so that they are safe to show also after a
//! program has read the line.

mod strangers;

pub(crate) use strangers::Strangers;

use crate::auth::Refused;
use crate::identity::Identity;
use queuebridge_proto::JobId;
use queuebridge_proto::printable::Printable;
use std::net::IpAddr;
use std::path::Path;
use strangers::Count;
use tonic::{Code, Status};

const TARGET: &str = "queuebridge::audit";

/// A caller, as it may be shown.
struct Who<'a> {
    subject: Printable<&'a str>,
    tenant: Printable<&'a str>,
}

impl<'a> Who<'a> {
    fn of(caller: &'a Identity) -> Self {
        Self { subject: Printable(&caller.subject), tenant: Printable(&caller.tenant) }
    }
}

/// What somebody has done, or was not let do, with a job.
pub(crate) fn act<T>(caller: &Identity, act: &str, job: &JobId, result: &Result<T, Status>) {
    let code = result.as_ref().err().map_or(Code::Ok, Status::code);
    let code = queuebridge_proto::codes::code_name(code);
    let Who { subject, tenant } = Who::of(caller);
    tracing::info!(target: TARGET, act, %subject, %tenant, %job, code, "a job was acted upon");
}

/// A job that repeats another one.
pub(crate) fn replayed(caller: &Identity, job: &JobId, retry_of: &JobId) {
    let Who { subject, tenant } = Who::of(caller);
    tracing::info!(target: TARGET, act = "replay", %subject, %tenant, %job, %retry_of, "a job is repeated");
}

/// What a caller was not granted.
pub(crate) fn refused(caller: &Identity, method: &str, status: &Status) {
    let Who { subject, tenant } = Who::of(caller);
    let code = queuebridge_proto::codes::code_name(status.code());
    let method = Printable(method);
    tracing::info!(target: TARGET, act = "refuse", %subject, %tenant, %method, code, "a call was refused");
}

/// Who was not let in, as the first from its address for this reason.
fn not_let_in(caller: &Refused, address: Option<IpAddr>) {
    let reason = caller.reason;
    let peer = address.map(tracing::field::display);
    let claimed = caller.claimed.as_deref().map(|name| tracing::field::display(Printable(name)));
    let why = caller.status.message();
    tracing::info!(
        target: TARGET, act = "refuse", reason, why, peer, claimed, "a caller was not let in"
    );
}

/// How many more were not let in.
fn counted(count: &Count) {
    let Count { reason, source, count, period } = count;
    let seconds = period.as_secs();
    tracing::info!(
        target: TARGET, act = "refuse", reason, peer = %source, count, seconds,
        "more callers were not let in"
    );
}

/// A file whose content decides who is let in was read again.
pub(crate) fn reloaded(what: &str, path: &Path, problem: Option<&str>) {
    let path = Printable(path.display());
    match problem {
        None => tracing::info!(target: TARGET, act = "reload", what, %path, "read again"),
        Some(problem) => {
            tracing::error!(target: TARGET, act = "reload", what, %path, problem, "the old content stays");
        }
    }
}

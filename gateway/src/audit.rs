//! The audit log: who has ended, deleted or repeated jobs, who was refused, and what this
//! gateway lets in. Lines of the log with the target `queuebridge::audit`, so that a filter
//! can send them elsewhere; nothing of requests, answers and credentials is in them.

use crate::identity::Identity;
use queuebridge_proto::JobId;
use std::path::Path;
use tonic::{Code, Status};

const TARGET: &str = "queuebridge::audit";

/// What somebody has done, or was not let do, with a job.
pub(crate) fn act<T>(caller: &Identity, act: &str, job: &JobId, result: &Result<T, Status>) {
    let code = result.as_ref().err().map_or(Code::Ok, Status::code);
    let code = queuebridge_proto::codes::code_name(code);
    let Identity { tenant, subject, .. } = caller;
    tracing::info!(target: TARGET, act, %subject, %tenant, %job, code, "a job was acted upon");
}

/// A job that repeats another one.
pub(crate) fn replayed(caller: &Identity, job: &JobId, retry_of: &JobId) {
    let Identity { tenant, subject, .. } = caller;
    tracing::info!(target: TARGET, act = "replay", %subject, %tenant, %job, %retry_of, "a job is repeated");
}

/// What a caller was not granted.
pub(crate) fn refused(caller: &Identity, method: &str, status: &Status) {
    let Identity { tenant, subject, .. } = caller;
    let code = queuebridge_proto::codes::code_name(status.code());
    tracing::info!(target: TARGET, act = "refuse", %subject, %tenant, method, code, "a call was refused");
}

/// A file whose content decides who is let in was read again.
pub(crate) fn reloaded(what: &str, path: &Path, problem: Option<&str>) {
    let path = path.display();
    match problem {
        None => tracing::info!(target: TARGET, act = "reload", what, %path, "read again"),
        Some(problem) => {
            tracing::error!(target: TARGET, act = "reload", what, %path, problem, "the old content stays");
        }
    }
}

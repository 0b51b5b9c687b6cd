//! Refusals of the gateway over a real socket: code, reason, field and retry time.
//!
//! The rules for single fields are tests of `gateway/src/submission`.

mod bridge;
mod ids;
mod malformed;
mod overload;
mod submissions;

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Code, reason and field of a refusal; no field is the empty text.
fn told(status: &Status) -> (Code, String, String) {
    let info = status.get_details_error_info();
    let info = info.unwrap_or_else(|| panic!("without a reason: {status:?}"));
    let field = info.metadata.get("field").cloned().unwrap_or_default();
    (status.code(), info.reason, field)
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(
    answer: Result<T, Status>,
    code: Code,
    reason: &str,
    field: &str,
) -> Status {
    let status = answer.expect_err(field);
    assert_eq!(told(&status), (code, reason.to_owned(), field.to_owned()), "{status:?}");
    status
}

//! Errors as callers of the demo services see them.

use std::collections::HashMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The `domain` of every `google.rpc.ErrorInfo` of the demo services.
pub const DOMAIN: &str = "demo.queuebridge";

/// Stable reasons, as they stand in `ErrorInfo.reason`.
pub mod reason {
    /// A field breaks its rule.
    pub const INVALID_FIELD: &str = "INVALID_FIELD";
    /// The bytes are no picture of any known encoding.
    pub const NOT_AN_IMAGE: &str = "NOT_AN_IMAGE";
    /// The picture begins well and ends too early.
    pub const TRUNCATED_IMAGE: &str = "TRUNCATED_IMAGE";
    /// The picture is complete and breaks the rules of its encoding.
    pub const CORRUPT_IMAGE: &str = "CORRUPT_IMAGE";
    /// The picture has too many pixels, or would take too much memory.
    pub const IMAGE_TOO_LARGE: &str = "IMAGE_TOO_LARGE";
    /// The encoding is known and not handled here.
    pub const UNSUPPORTED_FORMAT: &str = "UNSUPPORTED_FORMAT";
    /// The encoded thumbnail would not fit an answer.
    pub const THUMBNAIL_TOO_LARGE: &str = "THUMBNAIL_TOO_LARGE";
    /// What `Probe.Fail` says unless it is asked for another reason.
    pub const PROBE_FAILED: &str = "PROBE_FAILED";
    /// `Probe.Flaky` fails because it was asked to.
    pub const PROBE_FLAKY: &str = "PROBE_FLAKY";
    /// `Probe.Flaky` remembers no further key.
    pub const PROBE_KEYS_EXHAUSTED: &str = "PROBE_KEYS_EXHAUSTED";
    /// `Probe.Append` has nowhere to write.
    pub const PROBE_HAS_NO_DIRECTORY: &str = "PROBE_HAS_NO_DIRECTORY";
    /// `Probe.Append` could not write.
    pub const PROBE_WRITE_FAILED: &str = "PROBE_WRITE_FAILED";
}

/// A status with its reason in `ErrorInfo`.
#[must_use]
pub fn status(code: Code, reason: &str, message: impl Into<String>) -> Status {
    Status::with_error_details(code, message, info(reason))
}

/// `INVALID_ARGUMENT` that names the field in `BadRequest` and says what is
/// wrong with it.
#[must_use]
pub fn refused_field(reason: &str, field: &str, rule: impl Into<String>) -> Status {
    let rule = rule.into();
    let mut details = info(reason);
    details.add_bad_request_violation(field, rule.as_str());
    Status::with_error_details(Code::InvalidArgument, format!("{field}: {rule}"), details)
}

/// `INVALID_ARGUMENT` for a field that breaks its rule.
#[must_use]
pub fn invalid_field(field: &str, rule: impl Into<String>) -> Status {
    refused_field(reason::INVALID_FIELD, field, rule)
}

fn info(reason: &str) -> ErrorDetails {
    ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new())
}

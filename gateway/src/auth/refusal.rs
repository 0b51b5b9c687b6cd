//! What those hear who are not let in.

use super::Verb;
use crate::config::TENANT;
use queuebridge_proto::error::{reason, retry_after, status, status_with};
use std::time::Duration;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// No credentials came with the call.
pub(super) fn missing() -> Status {
    let message = "the call has no credentials: an `authorization` of the type Bearer with a \
                   token or an API key, an `x-api-key`, or a client certificate";
    challenge(status(Code::Unauthenticated, reason::CREDENTIALS_MISSING, message))
}

/// The credentials are none of ours. `problem` is for the caller: it says nothing that
/// helps somebody who has made them up.
pub(super) fn invalid(problem: &str) -> Status {
    challenge(status(Code::Unauthenticated, reason::CREDENTIALS_INVALID, problem))
}

/// They were right, and are not any more, or not yet.
pub(super) fn expired(problem: &str) -> Status {
    challenge(status(Code::Unauthenticated, reason::CREDENTIALS_EXPIRED, problem))
}

/// Nobody can say now whether they are right.
pub(super) fn unavailable() -> Status {
    let message = "the keys that tokens are checked with cannot be had at the moment";
    retry_after(Code::Unavailable, reason::AUTH_UNAVAILABLE, message, Duration::from_secs(1))
}

/// The caller is known, and its tenant is not.
pub(super) fn no_tenant() -> Status {
    let message = format!("the credentials name no tenant, or none that can be: {TENANT}");
    status(Code::PermissionDenied, reason::NO_TENANT, message)
}

/// The token names a tenant that is not among its issuer's.
pub(super) fn foreign_tenant() -> Status {
    let message = "the token's issuer may not name the tenant that the token names";
    status(Code::PermissionDenied, reason::NO_TENANT, message)
}

/// The caller may not do this.
pub(super) fn not_granted(verb: Verb) -> Status {
    let message = format!("the caller's roles do not grant `{}` on this method", verb.name());
    let facts = [("verb", verb.name().to_owned())];
    status_with(Code::PermissionDenied, reason::NOT_GRANTED, message, facts)
}

/// As HTTP has it; browsers' and Connect's clients look for it.
fn challenge(mut status: Status) -> Status {
    status.metadata_mut().insert("www-authenticate", MetadataValue::from_static("Bearer"));
    status
}

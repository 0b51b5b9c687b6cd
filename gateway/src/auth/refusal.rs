//! What those hear who are not let in.

use super::Verb;
use crate::config::TENANT;
use queuebridge_proto::error::{reason, retry_after, status, status_with};
use std::time::Duration;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// A caller who is not let in.
#[derive(Debug)]
pub(crate) struct Refused {
    /// What it is told.
    pub(crate) status: Status,
    /// The reason in the status.
    pub(crate) reason: &'static str,
    /// Who it says to be, as far as that is known here and no secret: the id of a key that
    /// exists, an issuer that is trusted, what an authority or an issuer has signed.
    pub(crate) claimed: Option<String>,
}

impl Refused {
    fn new(status: Status, reason: &'static str) -> Self {
        Self { status, reason, claimed: None }
    }

    /// Adds who the caller says to be, if that is not said yet.
    pub(crate) fn claiming(mut self, name: String) -> Self {
        self.claimed.get_or_insert(name);
        self
    }
}

/// No credentials came with the call.
pub(super) fn missing() -> Refused {
    let message = "the call has no credentials: an `authorization` of the type Bearer with a \
                   token or an API key, an `x-api-key`, or a client certificate";
    unauthenticated(reason::CREDENTIALS_MISSING, message)
}

/// The credentials are none of ours. `problem` is for the caller: it says nothing that
/// helps somebody who has made them up.
pub(crate) fn invalid(problem: &str) -> Refused {
    unauthenticated(reason::CREDENTIALS_INVALID, problem)
}

/// They were right, and are not any more, or not yet.
pub(super) fn expired(problem: &str) -> Refused {
    unauthenticated(reason::CREDENTIALS_EXPIRED, problem)
}

/// Nobody can say now whether they are right.
pub(super) fn unavailable() -> Refused {
    let message = "the keys that tokens are checked with cannot be had at the moment";
    let (reason, wait) = (reason::AUTH_UNAVAILABLE, Duration::from_secs(1));
    Refused::new(retry_after(Code::Unavailable, reason, message, wait), reason)
}

/// The caller is known, and its tenant is not.
pub(super) fn no_tenant() -> Refused {
    let message = format!("the credentials name no tenant, or none that can be: {TENANT}");
    let reason = reason::NO_TENANT;
    Refused::new(status(Code::PermissionDenied, reason, message), reason)
}

/// The token names a tenant that is not among its issuer's.
pub(super) fn foreign_tenant() -> Refused {
    let message = "the token's issuer may not name the tenant that the token names";
    let reason = reason::NO_TENANT;
    Refused::new(status(Code::PermissionDenied, reason, message), reason)
}

/// The caller may not do this.
pub(super) fn not_granted(verb: Verb) -> Status {
    let message = format!("the caller's roles do not grant `{}` on this method", verb.name());
    let facts = [("verb", verb.name().to_owned())];
    status_with(Code::PermissionDenied, reason::NOT_GRANTED, message, facts)
}

/// With the challenge that HTTP has; browsers' and Connect's clients look for it.
fn unauthenticated(reason: &'static str, problem: &str) -> Refused {
    let mut status = status(Code::Unauthenticated, reason, problem);
    status.metadata_mut().insert("www-authenticate", MetadataValue::from_static("Bearer"));
    Refused::new(status, reason)
}

//! Errors as callers see them: a gRPC status whose details name a stable reason.

use std::collections::HashMap;
use std::time::Duration;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The `domain` of every [`tonic_types::ErrorInfo`] of Queuebridge.
pub const DOMAIN: &str = "queuebridge";

/// The trailer with which gRPC clients are told when, and whether, to retry.
pub const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Stable reasons, as they stand in `ErrorInfo.reason`.
pub mod reason {
    /// A field breaks its rule; `BadRequest` names it.
    pub const INVALID_FIELD: &str = "INVALID_FIELD";
    /// The bytes are not the message of the method.
    pub const MALFORMED_MESSAGE: &str = "MALFORMED_MESSAGE";
    /// Messages are not serialized as Protobuf.
    pub const UNKNOWN_CODEC: &str = "UNKNOWN_CODEC";
    /// Messages are compressed in a way that is not read here.
    pub const UNKNOWN_ENCODING: &str = "UNKNOWN_ENCODING";
    /// No route takes the method.
    pub const NO_ROUTE: &str = "NO_ROUTE";
    /// The method's route has no queue: all its calls go to an upstream.
    pub const NO_QUEUE: &str = "NO_QUEUE";
    /// The upstream cannot be reached, or its connection was lost.
    pub const UPSTREAM_UNAVAILABLE: &str = "UPSTREAM_UNAVAILABLE";
    /// The upstream's answer is none of gRPC.
    pub const UPSTREAM_NOT_GRPC: &str = "UPSTREAM_NOT_GRPC";
    /// The upstream function has as many calls as it may have.
    pub const UPSTREAM_THROTTLED: &str = "UPSTREAM_THROTTLED";
    /// The upstream function is not there, or the gateway may not invoke it.
    pub const UPSTREAM_MISSING: &str = "UPSTREAM_MISSING";
    /// The upstream function has ended without an answer.
    pub const UPSTREAM_FAILED: &str = "UPSTREAM_FAILED";
    /// The upstream takes whole requests, and the caller goes on sending.
    pub const UPSTREAM_HALF_DUPLEX: &str = "UPSTREAM_HALF_DUPLEX";
    /// The upstream did not answer within the caller's deadline.
    pub const UPSTREAM_TIMED_OUT: &str = "UPSTREAM_TIMED_OUT";
    /// The request, or its metadata, is larger than the route allows.
    pub const PAYLOAD_TOO_LARGE: &str = "PAYLOAD_TOO_LARGE";
    /// The answer is larger than the worker may store.
    pub const RESPONSE_TOO_LARGE: &str = "RESPONSE_TOO_LARGE";
    /// The gateway has too much work in hand.
    pub const OVERLOADED: &str = "OVERLOADED";
    /// The request did not come as a whole in time.
    pub const REQUEST_TOO_SLOW: &str = "REQUEST_TOO_SLOW";
    /// The gateway is shutting down.
    pub const DRAINING: &str = "DRAINING";
    /// The `request_id` was used with another submission.
    pub const REQUEST_ID_REUSED: &str = "REQUEST_ID_REUSED";
    /// The `resubmit_token` is not one of this submission of this caller.
    pub const RESUBMIT_TOKEN_INVALID: &str = "RESUBMIT_TOKEN_INVALID";
    /// The queue refused the message.
    pub const PUBLISH_FAILED: &str = "PUBLISH_FAILED";
    /// The queue may or may not have taken the message.
    pub const PUBLISH_OUTCOME_UNKNOWN: &str = "PUBLISH_OUTCOME_UNKNOWN";
    /// There is no data key to encrypt with, or to decrypt.
    pub const KEY_UNAVAILABLE: &str = "KEY_UNAVAILABLE";
    /// The store could not be asked.
    pub const STORE_UNAVAILABLE: &str = "STORE_UNAVAILABLE";
    /// The text is not a job id.
    pub const MALFORMED_JOB_ID: &str = "MALFORMED_JOB_ID";
    /// No such job was accepted here.
    pub const JOB_NOT_FOUND: &str = "JOB_NOT_FOUND";
    /// The job's result is past its retention, or was deleted.
    pub const RESULT_PURGED: &str = "RESULT_PURGED";
    /// The job is not finished: there is nothing to forget yet.
    pub const NOT_FINISHED: &str = "NOT_FINISHED";
    /// The deployment makes no callbacks.
    pub const NO_CALLBACKS: &str = "NO_CALLBACKS";
    /// The job has ended without an answer.
    pub const NO_RESPONSE: &str = "NO_RESPONSE";
    /// The result store finds jobs by their ids only.
    pub const NOT_LISTED: &str = "NOT_LISTED";
    /// The job's payload is gone from the payload store, or was altered.
    pub const PAYLOAD_LOST: &str = "PAYLOAD_LOST";
    /// The job's route keeps no state that could be cancelled.
    pub const NOT_CANCELLABLE: &str = "NOT_CANCELLABLE";
    /// The job was not finished by its work expiry.
    pub const JOB_EXPIRED: &str = "JOB_EXPIRED";
    /// The job was cancelled.
    pub const JOB_CANCELLED: &str = "JOB_CANCELLED";
    /// The worker of the job's queue has no such method.
    pub const METHOD_NOT_SERVED: &str = "METHOD_NOT_SERVED";
    /// The handler panicked.
    pub const HANDLER_PANICKED: &str = "HANDLER_PANICKED";
    /// The handler did not finish within the time that the host allows.
    pub const HANDLER_TIMED_OUT: &str = "HANDLER_TIMED_OUT";
    /// Native gRPC came to a door that has no trailers.
    pub const NO_TRAILERS_HERE: &str = "NO_TRAILERS_HERE";
    /// The rest of an open request will not come: its caller has broken it off, or the
    /// attempt is over. Handlers read it, and not callers.
    pub const REQUEST_BROKEN_OFF: &str = "REQUEST_BROKEN_OFF";
    /// A stream does not travel on this route.
    pub const NO_STREAM: &str = "NO_STREAM";
    /// The job was tried again after messages of its stream had been handed out.
    pub const STREAM_RETRIED: &str = "STREAM_RETRIED";
    /// The work was not finished within its caller's time, and goes on: the details name
    /// the operation.
    pub const STILL_RUNNING: &str = "STILL_RUNNING";
    /// The caller's time is over.
    pub const DEADLINE_PASSED: &str = "DEADLINE_PASSED";
    /// The handler asked for what its queue cannot do.
    pub const SNOOZE_REFUSED: &str = "SNOOZE_REFUSED";
    /// The worker that held the claim was not heard of again, and the route's
    /// lease policy is `fail`.
    pub const WORKER_LOST: &str = "WORKER_LOST";
    /// The message came to the dead letter queue before the job was finished.
    pub const DEAD_LETTERED: &str = "DEAD_LETTERED";
    /// The route's rules, or the submission, leave no branch to send the job to.
    pub const NO_BRANCH: &str = "NO_BRANCH";
    /// Fewer branches are left than the gather needs.
    pub const TOO_FEW_BRANCHES: &str = "TOO_FEW_BRANCHES";
    /// So many branches have failed that the gather cannot be met any more.
    pub const GATHER_FAILED: &str = "GATHER_FAILED";
    /// A call of a method whose jobs go to several branches, and whose rule makes no answer of
    /// the method's own type: it names neither a primary branch nor a merge.
    pub const NO_SINGLE_ANSWER: &str = "NO_SINGLE_ANSWER";
    /// The answers of branches have types that cannot be merged.
    pub const ANSWER_TYPES_DIFFER: &str = "ANSWER_TYPES_DIFFER";
    /// What a gateway has written into the store was altered, or an earlier version has
    /// written it.
    pub const RECORD_NOT_AUTHENTIC: &str = "RECORD_NOT_AUTHENTIC";
    /// A group takes no further jobs.
    pub const GROUP_OVER: &str = "GROUP_OVER";
    /// The call came without credentials.
    pub const CREDENTIALS_MISSING: &str = "CREDENTIALS_MISSING";
    /// The credentials are none that this gateway knows.
    pub const CREDENTIALS_INVALID: &str = "CREDENTIALS_INVALID";
    /// The credentials are not valid any more, or not yet.
    pub const CREDENTIALS_EXPIRED: &str = "CREDENTIALS_EXPIRED";
    /// The keys that credentials are checked with cannot be had at the moment.
    pub const AUTH_UNAVAILABLE: &str = "AUTH_UNAVAILABLE";
    /// The caller is known, and its credentials name no tenant, or one that their issuer
    /// may not name.
    pub const NO_TENANT: &str = "NO_TENANT";
    /// None of the caller's roles grants this.
    pub const NOT_GRANTED: &str = "NOT_GRANTED";
    /// Nobody is asked for credentials here, and the request is for another host: a page may
    /// have pointed a name of its own to this server.
    pub const HOST_NOT_ALLOWED: &str = "HOST_NOT_ALLOWED";
    /// Nobody is asked for credentials here, and a page of another origin calls.
    pub const ORIGIN_NOT_ALLOWED: &str = "ORIGIN_NOT_ALLOWED";
    /// The tenant has used up what it may submit or have in hand for the moment.
    pub const QUOTA_EXCEEDED: &str = "QUOTA_EXCEEDED";
    /// The attempts were used up without a reported failure: workers died.
    pub const ATTEMPTS_EXHAUSTED: &str = "ATTEMPTS_EXHAUSTED";
}

/// A status with its reason.
#[must_use]
pub fn status(code: Code, reason: &str, message: impl Into<String>) -> Status {
    Status::with_error_details(code, message, info(reason, []))
}

/// A status with its reason and further facts for machines.
#[must_use]
pub fn status_with<const N: usize>(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    facts: [(&str, String); N],
) -> Status {
    Status::with_error_details(code, message, info(reason, facts))
}

/// `INVALID_ARGUMENT` that names the field and its rule.
#[must_use]
pub fn invalid_field(field: &str, rule: impl Into<String>) -> Status {
    refused_field(Code::InvalidArgument, reason::INVALID_FIELD, field, rule)
}

/// A refusal for a reason of its own that still names the field.
#[must_use]
pub fn refused_field(code: Code, reason: &str, field: &str, rule: impl Into<String>) -> Status {
    let rule = rule.into();
    let mut details = info(reason, [("field", field.to_owned())]);
    details.add_bad_request_violation(field, rule.clone());
    Status::with_error_details(code, format!("{field}: {rule}"), details)
}

/// A status that asks the client to come back after `delay`.
#[must_use]
pub fn retry_after(code: Code, reason: &str, message: &str, delay: Duration) -> Status {
    let mut details = info(reason, []);
    details.set_retry_info(Some(delay));
    let mut status = Status::with_error_details(code, message, details);
    let pushback = MetadataValue::from(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
    status.metadata_mut().insert(RETRY_PUSHBACK, pushback);
    status
}

/// The same status, with the order not to retry it automatically.
#[must_use]
pub fn do_not_retry(mut status: Status) -> Status {
    status.metadata_mut().insert(RETRY_PUSHBACK, MetadataValue::from_static("-1"));
    status
}

fn info<const N: usize>(reason: &str, facts: [(&str, String); N]) -> ErrorDetails {
    let facts: HashMap<String, String> =
        facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    ErrorDetails::with_error_info(reason, DOMAIN, facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_field_names_itself_twice_and_the_reason_once() {
        let status = invalid_field("jobs[3].method", "expected a method");
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INVALID_FIELD", "queuebridge"));
        assert_eq!(info.metadata["field"], "jobs[3].method");
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "jobs[3].method");
    }

    #[test]
    fn overload_says_when_to_come_back() {
        let status = retry_after(
            Code::ResourceExhausted,
            reason::OVERLOADED,
            "busy",
            Duration::from_millis(250),
        );
        assert_eq!(status.metadata().get(RETRY_PUSHBACK).unwrap(), "250");
        let delay = status.get_error_details().retry_info().unwrap().retry_delay;
        assert_eq!(delay, Some(Duration::from_millis(250)));
    }
}

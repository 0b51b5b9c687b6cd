//! A submission, checked: later code cannot meet half-checked data.

use crate::audit;
use crate::auth::Verb;
use crate::fan_out::{self, Selected};
use crate::group::Member;
use crate::identity::Identity;
use crate::route::{Route, Routes};
use bytes::Bytes;
use queuebridge_proto::duration::format_duration;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::time::duration_from_proto;
use queuebridge_proto::v1::submit_request::Expiry;
use queuebridge_proto::v1::{Callback, GatherRule, Metadatum, SubmitRequest};
use queuebridge_proto::{JobId, Keyring, MethodName, UnixMillis, framing, metadata};
use sha2::{Digest, Sha256};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tonic::{Code, Status};

const MIN_EXPIRY: Duration = Duration::from_secs(1);
const MIN_RETENTION: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(900);
const MAX_REQUEST_ID: usize = 128;
const MAX_ORDERING_KEY: usize = 64;

/// A submission that keeps every rule of its route.
pub struct Submission {
    /// The route that takes it.
    pub route: Arc<Route>,
    /// The method.
    pub method: MethodName,
    /// The serialized request.
    pub request: Bytes,
    /// The caller's metadata.
    pub metadata: Vec<Metadatum>,
    /// The idempotency key; `None` when every submission is a new job.
    pub request_id: Option<String>,
    /// The work expiry.
    pub expires_at: UnixMillis,
    /// How long the result is kept.
    pub retention: Duration,
    /// Whole seconds of delay, up to 900.
    pub delay_seconds: u16,
    /// The ordering key; empty when there is none.
    pub ordering_key: String,
    /// The right to submit an earlier job once more; `None` for a new one.
    pub resubmit_token: Option<String>,
    /// The job of the caller that this one repeats, if it is a replay.
    pub retry_of: Option<JobId>,
    /// How long the caller waits for the result; zero: it does not.
    pub wait: Duration,
    /// Whom to tell when the job is finished.
    pub callback: Option<Callback>,
    /// The branches to which it goes, where its route has any.
    pub fan_out: Option<Selected>,
    /// The group that it belongs to, if any.
    pub member: Option<Box<Member>>,
    /// What a call says that a submission cannot; nothing for a submission.
    pub shape: CallShape,
    /// What the caller has said of these, before the route's defaults.
    pub given: Given,
    /// It attaches to the job of another subject.
    pub(crate) foreign: bool,
    request_sha256: OnceLock<[u8; 32]>,
}

/// What a caller has said where a route has defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// Whom to tell when the job is finished.
    pub callback: Option<Callback>,
    /// When the job is finished.
    pub gather: Option<GatherRule>,
    /// The names of the branches to which it goes.
    pub branches: Vec<String>,
}

/// What a direct call is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallShape {
    /// The request is a stream, as [`queuebridge_proto::framing`] writes it.
    pub stream: bool,
    /// More of it will follow.
    pub open: bool,
    /// The most bytes of a streamed answer that may be ahead of the caller.
    pub window: u32,
    /// The caller's deadline, which is the work expiry: nobody wants the work later, and
    /// the caller decides what is tried again.
    pub deadline: Option<Duration>,
    /// The caller itself has set that deadline, and the handler is told it.
    pub by_caller: bool,
    /// For how long the same call without a request id attaches to its job.
    pub attach_within: Option<Duration>,
}

impl Submission {
    /// Checks a request against the rules of the contract and of its route.
    /// `keys` verify the job ids of the caller.
    ///
    /// # Errors
    /// A status that names the field and its rule.
    pub fn check(
        request: SubmitRequest,
        routes: &Routes,
        caller: &Identity,
        keys: &Keyring,
        now: UnixMillis,
    ) -> Result<Self, Status> {
        let method = MethodName::parse(&request.method)
            .map_err(|rule| error::invalid_field("method", rule))?;
        let granted = caller.may(Verb::Submit, method.as_str());
        granted.inspect_err(|status| audit::refused(caller, method.as_str(), status))?;
        let Some(route) = routes.find(method.as_str()).cloned() else {
            let rule = "no route takes this method";
            return Err(error::refused_field(Code::NotFound, reason::NO_ROUTE, "method", rule));
        };
        if !route.has_queue() {
            let rule = "its route has an upstream and no queue: call the method itself";
            let (code, reason) = (Code::FailedPrecondition, reason::NO_QUEUE);
            return Err(error::refused_field(code, reason, "method", rule));
        }
        check_metadata(&request.metadata)?;
        if request.request_stream && framing::split(request.request.clone()).is_none() {
            return Err(error::invalid_field("request", "not the messages of a stream"));
        }
        let config = &route.config;
        if config.max_request_bytes.is_some_and(|max| request.request.len() > max) {
            return Err(too_large("request", "larger than its route allows"));
        }
        let expires_at = expiry(&request, config.default_expiry, config.max_expiry, now)?;
        let retention = match &request.result_retention {
            None => config.default_retention,
            Some(_) => {
                let given = duration("result_retention", request.result_retention.as_ref())?;
                let most = format_duration(config.max_retention);
                let rule = format!("from 1s to {most} on this route");
                in_range("result_retention", given, MIN_RETENTION, config.max_retention, rule)?
            }
        };
        let delay = duration("delay", request.delay.as_ref())?;
        let delay =
            in_range("delay", delay, Duration::ZERO, MAX_DELAY, "from 0s to 15m".to_owned())?;
        check_ordering(&request.ordering_key, route.limits().fifo, delay)?;
        if now.plus(delay) >= expires_at {
            return Err(error::invalid_field("delay", "must end before the work expiry"));
        }
        check_request_id(&request.request_id)?;
        if !request.job_id.is_empty() {
            let rule = "an id is no right to submit under it: give the resubmit_token of the error";
            return Err(error::invalid_field("job_id", rule));
        }
        let fan_out = fan_out::select(&request, &method, config, expires_at, now)?;
        if fan_out.as_ref().is_some_and(|selected| now.plus(delay) >= selected.deadline) {
            return Err(error::invalid_field("delay", "must end before the gather's deadline"));
        }
        let SubmitRequest { callback, gather, branches, .. } = request;
        let given = Given { callback, gather, branches };
        Ok(Self {
            method,
            request: request.request,
            metadata: request.metadata,
            request_id: Some(request.request_id).filter(|id| !id.is_empty()),
            expires_at,
            retention,
            delay_seconds: u16::try_from(ceil_secs(delay)).unwrap_or(900),
            ordering_key: request.ordering_key,
            resubmit_token: Some(request.resubmit_token).filter(|token| !token.is_empty()),
            retry_of: check_retry_of(&request.retry_of, caller, keys)?,
            wait: duration("wait", request.wait.as_ref())?,
            callback: given.callback.clone().or_else(|| config.callback.clone()),
            fan_out,
            member: None,
            shape: CallShape { stream: request.request_stream, ..CallShape::default() },
            given,
            foreign: false,
            request_sha256: OnceLock::new(),
            route,
        })
    }
}

impl Submission {
    /// Whether it submits an earlier job once more.
    pub(crate) fn is_again(&self) -> bool {
        self.resubmit_token.is_some()
    }

    /// The SHA-256 of its request, which is computed once, and only if it is needed.
    pub(crate) fn request_sha256(&self) -> [u8; 32] {
        *self.request_sha256.get_or_init(|| Sha256::digest(&self.request).into())
    }

    /// Makes it the job of a direct call.
    pub(crate) fn shaped(&mut self, shape: CallShape, now: UnixMillis) {
        self.shape = shape;
        let Some(deadline) = shape.deadline else { return };
        self.expires_at = now.plus(deadline.min(self.route.config.max_expiry));
        if let Some(selected) = &mut self.fan_out {
            selected.deadline = selected.deadline.min(self.expires_at);
        }
    }
}

/// The refusal of a request that is too large; trying again cannot help.
#[must_use]
pub fn too_large(field: &str, rule: &str) -> Status {
    let reason = reason::PAYLOAD_TOO_LARGE;
    error::do_not_retry(error::refused_field(Code::ResourceExhausted, reason, field, rule))
}

/// A duration field; unset is zero.
///
/// # Errors
/// `INVALID_ARGUMENT` when it is negative or out of range.
pub fn duration(field: &str, value: Option<&prost_types::Duration>) -> Result<Duration, Status> {
    value.map_or(Ok(Duration::ZERO), |value| {
        duration_from_proto(value)
            .ok_or_else(|| error::invalid_field(field, "a duration that is not negative"))
    })
}

fn check_metadata(entries: &[Metadatum]) -> Result<(), Status> {
    if entries.len() > metadata::MAX_ENTRIES || metadata::size(entries) > metadata::MAX_BYTES {
        return Err(too_large("metadata", "at most 64 entries and 8 KiB together"));
    }
    metadata::check(entries)
        .map_err(|(index, rule)| error::invalid_field(&format!("metadata[{index}]"), rule))
}

fn check_request_id(id: &str) -> Result<(), Status> {
    if id.len() > MAX_REQUEST_ID || !id.bytes().all(|c| c.is_ascii_graphic()) {
        let rule = "1 to 128 printable ASCII characters without spaces";
        return Err(error::invalid_field("request_id", rule));
    }
    Ok(())
}

/// Malformed, forged and foreign are one answer: here it is a mistake of the
/// caller and not a look-up, and there is nothing to be learned from it.
fn check_retry_of(id: &str, caller: &Identity, keys: &Keyring) -> Result<Option<JobId>, Status> {
    if id.is_empty() {
        return Ok(None);
    }
    let verified = JobId::verify(id, &caller.tenant, keys);
    verified.map(Some).map_err(|_| error::invalid_field("retry_of", "not the id of a job here"))
}

fn check_ordering(key: &str, fifo: bool, delay: Duration) -> Result<(), Status> {
    let rule = if key.is_empty() {
        (fifo && !delay.is_zero()).then_some(("delay", "ordered queues take no delay per message"))
    } else if !fifo {
        Some(("ordering_key", "the route's queue is not ordered"))
    } else if key.len() > MAX_ORDERING_KEY || !key.bytes().all(|c| c.is_ascii_graphic()) {
        Some(("ordering_key", "at most 64 printable ASCII characters without spaces"))
    } else {
        (!delay.is_zero()).then_some(("delay", "not together with an ordering key"))
    };
    rule.map_or(Ok(()), |(field, rule)| Err(error::invalid_field(field, rule)))
}

fn expiry(
    request: &SubmitRequest,
    default: Duration,
    max: Duration,
    now: UnixMillis,
) -> Result<UnixMillis, Status> {
    let (field, after) = match &request.expiry {
        None => return Ok(now.plus(default)),
        Some(Expiry::ExpireAfter(after)) => {
            ("expire_after", duration("expire_after", Some(after))?)
        }
        Some(Expiry::ExpireTime(at)) => {
            let at = UnixMillis::from_proto(at)
                .ok_or_else(|| error::invalid_field("expire_time", "not a valid time"))?;
            ("expire_time", now.until(at))
        }
    };
    let rule = format!("from 1s to {} from now on this route", format_duration(max));
    Ok(now.plus(in_range(field, after, MIN_EXPIRY, max, rule)?))
}

fn in_range(
    field: &str,
    value: Duration,
    min: Duration,
    max: Duration,
    rule: String,
) -> Result<Duration, Status> {
    if (min..=max).contains(&value) { Ok(value) } else { Err(error::invalid_field(field, rule)) }
}

fn ceil_secs(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests;

//! One delivery's life, top to bottom.

use crate::batch::Limits;
use crate::claim;
use crate::delivery::Delivery;
use crate::ended;
use crate::finish::{self, Ending};
use crate::handle::{Handled, handle};
use crate::journal;
use crate::next::Next;
use crate::park;
use crate::progress::Reports;
use crate::requests::{self, Breaks, Requests};
use crate::runner::{Runner, random};
use crate::snooze;
use crate::telemetry::{self, Observation};
use crate::verdict::{Reason, Verdict, backoff};
use bytes::Bytes;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::time::{CLOCK_SKEW, duration_from_proto};
use queuebridge_proto::v1::call::Payload;
use queuebridge_proto::v1::{AttemptRules, Call, Guarantee, Origin, TraceContext};
use queuebridge_proto::{EnvelopeError, JobId, MethodName, UnixMillis, framing};
use queuebridge_store::encryption::OpenError;
use queuebridge_store::{Author, Lease, PayloadError, payload};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tonic::Code;

/// A call that may be run.
pub(crate) struct Job<'a> {
    pub(crate) runner: &'a Runner,
    pub(crate) delivery: &'a Delivery,
    pub(crate) seen: &'a Observation,
    pub(crate) id: JobId,
    pub(crate) method: MethodName,
    pub(crate) call: Call,
    pub(crate) author: Author,
    pub(crate) attempt: u32,
    /// When the claim was granted.
    pub(crate) started_at: Option<UnixMillis>,
    pub(crate) reports: Arc<Reports>,
    /// The gather that it is a branch of.
    pub(crate) gather: Option<JobId>,
    /// Other branches have received the same message.
    pub(crate) shares_message: bool,
}

/// Why a delivery has no job to run.
#[derive(Debug)]
pub(crate) enum NoJob {
    /// It is not an envelope that may be run, or not now.
    Unopened(OpenError),
    /// It is for other branches.
    NotAddressed,
    /// It is for several branches, and nobody has told the worker which one it is.
    NoBranch,
}

impl From<EnvelopeError> for NoJob {
    fn from(error: EnvelopeError) -> Self {
        Self::Unopened(error.into())
    }
}

impl From<OpenError> for NoJob {
    fn from(error: OpenError) -> Self {
        Self::Unopened(error)
    }
}

/// Runs one delivery and says what should happen with its message.
pub(crate) async fn run(mut job: Job<'_>, limits: &Limits) -> Verdict {
    if job.is_expired() {
        return match finish::store(&job, Ending::Expired).await {
            Verdict::Ack => job.sent_back().await,
            redeliver => redeliver,
        };
    }
    if let Some(until) = snooze::still(&job) {
        return snooze::resend(&job, until).await;
    }
    if job.call.guarantee != Guarantee::AtLeastOnce as i32
        && let Err(verdict) = claim::take(&mut job, limits).await
    {
        return verdict;
    }
    job.seen.attempt(job.attempt);
    if job.attempt > job.max_attempts() {
        let message = "the attempts were used up, the last of them without a reported failure";
        let status = error::status(Code::Unavailable, reason::ATTEMPTS_EXHAUSTED, message);
        return job.give_up(Ending::Failed(status)).await;
    }
    let request = match job.fetch_request().await {
        Ok(request) => request,
        Err(PayloadError::Unavailable(error)) => {
            tracing::warn!(job = %job.id, error, "a request could not be fetched");
            // The job has not been tried.
            let pause = job.backoff();
            return job.release(Lease::Return, pause, Reason::StoreUnavailable).await;
        }
        Err(error) => {
            let message = format!("the request cannot be had: {error}");
            let status = error::status(Code::DataLoss, reason::PAYLOAD_LOST, message);
            return finish::store(&job, Ending::Failed(status)).await;
        }
    };
    let breaks = Breaks::default();
    let Some(requests) = job.requests(request, &breaks) else {
        let message = "the request is not a stream of messages";
        let status = error::status(Code::DataLoss, reason::PAYLOAD_LOST, message);
        return finish::store(&job, Ending::Failed(status)).await;
    };
    match handle(&job, requests, &breaks, limits).await {
        Handled::Answered(answer) => match answer.next {
            Some(Next::Fail) => finish::store(&job, Ending::Answered(answer)).await,
            Some(Next::RetryAfter(after)) => {
                job.retry(Reason::Retry, after, Ending::Answered(answer)).await
            }
            Some(Next::Snooze(pause)) => snooze::start(&job, pause).await,
            None if job.retries(answer.code) => {
                job.retry(Reason::Retry, job.backoff(), Ending::Answered(answer)).await
            }
            None => finish::store(&job, Ending::Answered(answer)).await,
        },
        Handled::Panicked => {
            let message = "the handler failed unexpectedly; its log has the detail";
            let status = error::status(Code::Internal, reason::HANDLER_PANICKED, message);
            job.retry(Reason::Panicked, job.backoff(), Ending::Failed(status)).await
        }
        Handled::OutOfTime => {
            let message = "the handler did not finish within its host's time";
            let status = error::status(Code::DeadlineExceeded, reason::HANDLER_TIMED_OUT, message);
            job.retry(Reason::OutOfTime, job.backoff(), Ending::Failed(status)).await
        }
        Handled::Stopped => job.release(Lease::Return, Duration::ZERO, Reason::OutOfTime).await,
        Handled::Expired => finish::store(&job, Ending::Expired).await,
        Handled::Cancelled => finish::store(&job, Ending::Cancelled).await,
        Handled::ClaimLost => Verdict::redeliver(Duration::from_secs(1), Reason::ClaimLost),
    }
}

impl<'a> Job<'a> {
    /// Opens the envelope of a delivery.
    pub(crate) async fn open(
        runner: &'a Runner,
        delivery: &'a Delivery,
        seen: &'a Observation,
    ) -> Result<Self, NoJob> {
        let mut call: Call = runner.seal.open(&delivery.body).await?;
        let shares_message = runner.settings.branch.take_place(&mut call, delivery)?;
        let id = JobId::parse_trusted(&call.job_id).map_err(|_| EnvelopeError::Undecodable)?;
        let method = MethodName::parse(&call.method).map_err(|_| EnvelopeError::Undecodable)?;
        let (author, attempt) = (Author::Unclaimed, delivery.receive_count);
        let gather = call.membership.as_ref();
        let gather = gather.map(|of| JobId::parse_trusted(&of.gather_id)).transpose();
        let gather = gather.map_err(|_| EnvelopeError::Undecodable)?;
        Ok(Self {
            runner,
            delivery,
            seen,
            id,
            method,
            call,
            author,
            attempt,
            started_at: None,
            reports: Arc::default(),
            gather,
            shares_message,
        })
    }

    /// What this copy of the message says of the job's beginning.
    pub(crate) fn origin(&self) -> Origin {
        let own = |key: &&String| payload::is_request_of(&self.call.tenant, &self.id, key);
        let request_key = match &self.call.payload {
            Some(Payload::RequestRef(at)) => Some(&at.key).filter(own).cloned(),
            _ => None,
        };
        Origin {
            callback: self.call.callback.clone(),
            membership: self.call.membership.clone(),
            request_key: request_key.unwrap_or_default(),
            ..Origin::default()
        }
    }

    /// From now on the job is told to those, and counts for that gather, which the first
    /// copy has named: this one may say something else.
    pub(crate) fn adopt(&mut self, origin: Option<Origin>) {
        let Some(Origin { callback, membership, .. }) = origin else { return };
        let gather = membership.as_ref().and_then(|of| JobId::parse_trusted(&of.gather_id).ok());
        (self.call.callback, self.call.membership, self.gather) = (callback, membership, gather);
    }

    /// How many claims were granted so far.
    pub(crate) fn claims(&self) -> u32 {
        if self.started_at.is_some() { self.attempt } else { 0 }
    }

    pub(crate) fn is_expired(&self) -> bool {
        self.now() >= self.id.expires_at()
    }

    pub(crate) fn now(&self) -> UnixMillis {
        self.runner.clock.now()
    }

    /// The end of a delivery whose job was over before. Whoever ended it may not have
    /// come to enqueueing its callback.
    pub(crate) async fn over(&self) -> Verdict {
        match ended::again(self).await {
            Verdict::Ack => self.sent_back().await,
            redeliver => redeliver,
        }
    }

    /// What a person has sent back from the parking queue goes there again: nobody but
    /// them deletes it.
    async fn sent_back(&self) -> Verdict {
        if self.delivery.parked { park::again(self).await } else { Verdict::Ack }
    }

    /// The trace context for what the handler calls: that of this delivery's span,
    /// or else the caller's.
    pub(crate) fn trace(&self) -> Option<TraceContext> {
        let header = self.delivery.trace_header.as_deref();
        self.seen
            .trace()
            .or_else(|| telemetry::created(self.call.trace.as_ref(), header).map(Cow::into_owned))
    }

    async fn fetch_request(&self) -> Result<Bytes, PayloadError> {
        match &self.call.payload {
            None => Ok(Bytes::new()),
            Some(Payload::Request(request)) => Ok(request.clone()),
            Some(Payload::RequestRef(at)) => match &self.runner.payloads {
                Some(payloads) => payloads.get(at).await,
                None => Err(PayloadError::Unavailable("this worker has no payload store".into())),
            },
        }
    }

    /// What the handler is sent; `None` if the payload is not what it should be.
    fn requests(&self, payload: Bytes, breaks: &Breaks) -> Option<Requests> {
        if !self.call.request_stream {
            return Some(Requests::One(Some(payload)));
        }
        let messages = framing::split(payload)?.into_iter();
        if !self.call.request_open {
            return Some(Requests::Several(messages));
        }
        let later = requests::later(self.runner, self.id, breaks.clone());
        Some(Requests::Open(messages, later, breaks.clone()))
    }

    /// Whether its handler may answer with a stream. Its chunks are kept under the token
    /// of the claim; a gather has one answer of each branch.
    pub(crate) fn takes_stream(&self) -> bool {
        matches!(self.author, Author::Claim(_)) && self.gather.is_none()
    }

    fn rules(&self) -> Option<&AttemptRules> {
        self.call.attempts.as_ref()
    }

    fn max_attempts(&self) -> u32 {
        self.rules().map_or(1, |rules| rules.max_attempts.max(1))
    }

    /// Whether another attempt follows this answer.
    fn retries(&self, code: Code) -> bool {
        code != Code::Ok && self.rules().is_some_and(|r| r.retry_on.contains(&(code as i32)))
    }

    /// Asks for another attempt, or gives the job up when there is none left.
    async fn retry(&self, reason: Reason, pause: Duration, last: Ending) -> Verdict {
        if self.attempt >= self.max_attempts() {
            return self.give_up(last).await;
        }
        journal::retry(reason, &last, pause);
        self.release(Lease::Release, pause, reason).await
    }

    /// The attempts are used up: the job has failed, and its message is parked.
    async fn give_up(&self, last: Ending) -> Verdict {
        match park::copy(self, park::reason::ATTEMPTS_EXHAUSTED).await {
            Ok(_) => finish::store(self, last).await,
            Err(verdict) => verdict,
        }
    }

    /// Gives the claim up, so that the next attempt need not wait for its lease,
    /// and comes back after the pause.
    async fn release(&self, lease: Lease, pause: Duration, reason: Reason) -> Verdict {
        if let Some(verdict) = claim::release(self, lease).await {
            return verdict;
        }
        // No later than the expiry: the delivery after it stores that.
        let to_expiry = self.now().until(self.id.expires_at()) + CLOCK_SKEW;
        Verdict::redeliver(pause.min(to_expiry), reason)
    }

    fn backoff(&self) -> Duration {
        let rule = |rule: Option<&prost_types::Duration>, default| {
            rule.and_then(duration_from_proto).unwrap_or(Duration::from_secs(default))
        };
        let initial = rule(self.rules().and_then(|r| r.initial_backoff.as_ref()), 1);
        let max = rule(self.rules().and_then(|r| r.max_backoff.as_ref()), 300);
        backoff(self.attempt, initial, max, random())
    }
}

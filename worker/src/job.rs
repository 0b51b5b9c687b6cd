//! One delivery's life, top to bottom.

use crate::batch::Limits;
use crate::context::JobContext;
use crate::delivery::Delivery;
use crate::dispatch::Answer;
use crate::finish::{self, Ending};
use crate::runner::{Runner, random};
use crate::verdict::{Reason, Verdict, backoff};
use bytes::Bytes;
use futures_util::FutureExt;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::time::{CLOCK_SKEW, duration_from_proto};
use queuebridge_proto::v1::call::Payload;
use queuebridge_proto::v1::{AttemptRules, Call, Guarantee};
use queuebridge_proto::{EnvelopeError, JobId, MethodName, UnixMillis, envelope};
use queuebridge_store::{Author, Claim, Lease, PayloadError, Renewed, Token};
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::Code;

/// Between two receives of a message that cannot be opened: long enough to cost
/// little, short enough that it is dead-lettered within minutes.
const UNOPENED_BACKOFF: Duration = Duration::from_secs(10);
/// Between two tries to reach a store that is down.
const STORE_BACKOFF: Duration = Duration::from_secs(2);
const STORE_BACKOFF_MAX: Duration = Duration::from_secs(120);
/// How long a handler that was told of its cancellation may take to give way.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// A call that may be run.
pub(crate) struct Job<'a> {
    pub(crate) runner: &'a Runner,
    pub(crate) id: JobId,
    pub(crate) method: MethodName,
    pub(crate) author: Author,
    pub(crate) tenant: String,
    attempt: u32,
    rules: AttemptRules,
}

/// Runs one delivery and says what should happen with its message.
pub(crate) async fn run(runner: &Runner, delivery: &Delivery, limits: &Limits) -> Verdict {
    let (id, method, call) = match open(runner, delivery) {
        Ok(opened) => opened,
        Err(error) => {
            tracing::error!(%error, receives = delivery.receive_count, "a message was not opened");
            return Verdict::redeliver(UNOPENED_BACKOFF, error.into());
        }
    };
    let rules = call.attempts.unwrap_or_default();
    let (author, tenant, receives) = (Author::Unclaimed, call.tenant, delivery.receive_count);
    let mut job = Job { runner, id, method, author, tenant, attempt: receives, rules };
    if runner.clock.now() >= id.expires_at() {
        return finish::store(&job, Ending::Expired).await;
    }
    if call.guarantee != Guarantee::AtLeastOnce as i32 {
        match claim(&mut job, receives).await {
            Ok(()) => {}
            Err(verdict) => return verdict,
        }
    }
    if job.attempt > job.rules.max_attempts.max(1) {
        let message = "the attempts were used up, the last of them without a reported failure";
        let status = error::status(Code::Unavailable, reason::ATTEMPTS_EXHAUSTED, message);
        return finish::store(&job, Ending::Failed(status)).await;
    }
    let request = match fetch_request(runner, call.payload).await {
        Ok(request) => request,
        Err(PayloadError::Unavailable(error)) => {
            tracing::warn!(job = %id, error, "a request could not be fetched");
            return job.retry(Reason::StoreUnavailable, None).await;
        }
        Err(error) => {
            let message = format!("the request cannot be had: {error}");
            let status = error::status(Code::DataLoss, reason::PAYLOAD_LOST, message);
            return finish::store(&job, Ending::Failed(status)).await;
        }
    };
    match handle(&job, request, &call.metadata, limits).await {
        Handled::Answered(answer) if job.retries(answer.code) => {
            job.retry(Reason::Retry, Some(Ending::Answered(answer))).await
        }
        Handled::Answered(answer) => finish::store(&job, Ending::Answered(answer)).await,
        Handled::Panicked => {
            let message = "the handler failed unexpectedly; its log has the detail";
            let status = error::status(Code::Internal, reason::HANDLER_PANICKED, message);
            job.retry(Reason::Panicked, Some(Ending::Failed(status))).await
        }
        Handled::OutOfTime => {
            let message = "the handler did not finish within its host's time";
            let status = error::status(Code::DeadlineExceeded, reason::HANDLER_TIMED_OUT, message);
            job.retry(Reason::OutOfTime, Some(Ending::Failed(status))).await
        }
        Handled::Stopped => {
            job.release().await;
            Verdict::redeliver(Duration::ZERO, Reason::OutOfTime)
        }
        Handled::Expired => finish::store(&job, Ending::Expired).await,
        Handled::Cancelled => finish::store(&job, Ending::Cancelled).await,
        Handled::ClaimLost => Verdict::redeliver(Duration::from_secs(1), Reason::ClaimLost),
    }
}

fn open(runner: &Runner, delivery: &Delivery) -> Result<(JobId, MethodName, Call), EnvelopeError> {
    let call = envelope::open(&delivery.body, &runner.envelope_keys)?;
    let id = JobId::parse_trusted(&call.job_id).map_err(|_| EnvelopeError::Undecodable)?;
    let method = MethodName::parse(&call.method).map_err(|_| EnvelopeError::Undecodable)?;
    Ok((id, method, call))
}

/// Claims the job, or says why it is not to be run.
async fn claim(job: &mut Job<'_>, receives: u32) -> Result<(), Verdict> {
    let (runner, token) = (job.runner, Token::random());
    let now = runner.clock.now();
    let lease_until = now.plus(runner.settings.lease);
    let claimed = runner.store.claim(&job.id, job.method.as_str(), token, lease_until, now).await;
    match claimed {
        Ok(Claim::Granted { attempt }) => {
            job.author = Author::Claim(token);
            job.attempt = attempt;
            Ok(())
        }
        Ok(Claim::Finished | Claim::Cancelled) => Err(Verdict::Ack),
        Ok(Claim::HeldUntil(until)) => {
            let after = now.until(until).max(Duration::from_secs(1));
            Err(Verdict::redeliver(after, Reason::Held))
        }
        Err(error) => {
            tracing::warn!(job = %job.id, %error, "a job could not be claimed");
            let after = backoff(receives, STORE_BACKOFF, STORE_BACKOFF_MAX, random());
            Err(Verdict::redeliver(after, Reason::StoreUnavailable))
        }
    }
}

async fn fetch_request(runner: &Runner, payload: Option<Payload>) -> Result<Bytes, PayloadError> {
    match payload {
        None => Ok(Bytes::new()),
        Some(Payload::Request(request)) => Ok(request),
        Some(Payload::RequestRef(at)) => match &runner.payloads {
            Some(payloads) => payloads.get(&at).await,
            None => Err(PayloadError::Unavailable("this worker has no payload store".into())),
        },
    }
}

enum Handled {
    Answered(Answer),
    Panicked,
    OutOfTime,
    Stopped,
    Expired,
    Cancelled,
    ClaimLost,
}

/// Calls the handler, under its deadline, and keeps the claim meanwhile.
async fn handle(
    job: &Job<'_>,
    request: Bytes,
    metadata: &[queuebridge_proto::v1::Metadatum],
    limits: &Limits,
) -> Handled {
    let runner = job.runner;
    let now = runner.clock.now();
    let to_expiry = now.until(job.id.expires_at());
    let to_end = limits.ends_at.map(|end| end.saturating_duration_since(Instant::now()));
    let (remaining, late) = match to_end {
        Some(to_end) if to_end < to_expiry => (to_end, Handled::OutOfTime),
        _ => (to_expiry, Handled::Expired),
    };
    let cancelled = CancellationToken::new();
    let context = JobContext {
        id: job.id,
        attempt: job.attempt,
        deadline: now.plus(remaining),
        cancelled: cancelled.clone(),
    };
    let call = runner.dispatcher.call(&job.method, request, metadata, remaining, context);
    tokio::select! {
        // The handler first: one that is quick never starts a timer.
        biased;
        answer = AssertUnwindSafe(call).catch_unwind() => match answer {
            Ok(answer) => Handled::Answered(answer),
            Err(_) => {
                tracing::error!(job = %job.id, method = %job.method, "a handler panicked");
                Handled::Panicked
            }
        },
        () = sleep(remaining) => late,
        ended = keep_claim(job, &cancelled) => ended,
        () = limits.stop.cancelled() => Handled::Stopped,
    }
}

/// Renews the claim until it is lost or the job's cancellation is asked for.
async fn keep_claim(job: &Job<'_>, cancelled: &CancellationToken) -> Handled {
    let Author::Claim(token) = job.author else { return std::future::pending().await };
    let lease = job.runner.settings.lease;
    loop {
        sleep(lease / 3).await;
        let now = job.runner.clock.now();
        let until = Lease::Until(now.plus(lease));
        match job.runner.store.renew(&job.id, token, until, None, now).await {
            Ok(Renewed::Held { cancel_requested: false }) => {}
            Ok(Renewed::Held { cancel_requested: true }) => {
                cancelled.cancel();
                sleep(CANCEL_GRACE).await;
                return Handled::Cancelled;
            }
            Ok(Renewed::Lost) => return Handled::ClaimLost,
            // The lease has two more thirds to go.
            Err(error) => tracing::warn!(job = %job.id, %error, "a claim was not renewed"),
        }
    }
}

impl Job<'_> {
    /// Whether another attempt follows this answer.
    fn retries(&self, code: Code) -> bool {
        code != Code::Ok && self.rules.retry_on.contains(&(code as i32))
    }

    /// Releases the claim and asks for another attempt, or finishes the job with
    /// `last` when there is none left. Without `last` the attempt does not count
    /// against the handler: something of ours failed.
    async fn retry(&self, reason: Reason, last: Option<Ending>) -> Verdict {
        let now = self.runner.clock.now();
        if let Some(last) = last.filter(|_| self.attempt >= self.rules.max_attempts) {
            return finish::store(self, last).await;
        }
        self.release().await;
        Verdict::redeliver(self.pause(now), reason)
    }

    /// Gives the claim up, so that the next attempt need not wait for its lease.
    async fn release(&self) {
        let Author::Claim(token) = self.author else { return };
        let now = self.runner.clock.now();
        let released = self.runner.store.renew(&self.id, token, Lease::Release, None, now);
        if let Err(error) = released.await {
            tracing::warn!(job = %self.id, %error, "a claim was not released");
        }
    }

    fn pause(&self, now: UnixMillis) -> Duration {
        let of = |rule: &Option<prost_types::Duration>, default| {
            rule.as_ref().and_then(duration_from_proto).unwrap_or(default)
        };
        let initial = of(&self.rules.initial_backoff, Duration::from_secs(1));
        let max = of(&self.rules.max_backoff, Duration::from_secs(300));
        let pause = backoff(self.attempt, initial, max, random());
        // No later than the expiry: the delivery after it stores that.
        pause.min(now.until(self.id.expires_at()) + CLOCK_SKEW)
    }
}

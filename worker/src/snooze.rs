//! Snoozed jobs: called again later, without another attempt.
//!
//! Visibility time-outs would count as receives and end after twelve hours. So
//! the message is sent again with a delay, in hops of what the queue allows, and
//! then acknowledged. Lost in between, the older copy comes back and the handler
//! is called early: it looks and snoozes again.

use crate::claim;
use crate::finish::{self, Ending};
use crate::job::Job;
use crate::offload;
use crate::outbox::{MAX_DELAY, OutboxError, Outgoing};
use crate::park;
use crate::verdict::{Reason, Verdict};
use queuebridge_proto::UnixMillis;
use queuebridge_proto::error::{self, reason};
use queuebridge_store::Lease;
use std::time::Duration;
use tonic::Code;

/// Until when the job is not to be run, if that is still to come.
pub(crate) fn still(job: &Job<'_>) -> Option<UnixMillis> {
    let until = UnixMillis::from_proto(job.call.not_before.as_ref()?)?;
    // Delays are in whole seconds, so that a copy may come a little early.
    (until > job.now().plus(Duration::from_secs(1))).then_some(until)
}

/// The handler has asked to be called again after `pause`.
pub(crate) async fn start(job: &Job<'_>, pause: Duration) -> Verdict {
    if job.delivery.fifo_group.is_some() {
        let message = "an ordered job cannot be snoozed: the jobs after it would overtake it";
        let status = error::status(Code::FailedPrecondition, reason::SNOOZE_REFUSED, message);
        return finish::store(job, Ending::Failed(status)).await;
    }
    if let Some(verdict) = claim::release(job, Lease::Return).await {
        return verdict;
    }
    // No later than the expiry: the delivery after it stores that.
    resend(job, job.now().plus(pause).min(job.id.expires_at())).await
}

/// Sends the job's next copy, and gives this one up.
pub(crate) async fn resend(job: &Job<'_>, until: UnixMillis) -> Verdict {
    let wait = job.now().until(until);
    let mut call = job.call.clone();
    call.publish_number = call.publish_number.saturating_add(1);
    call.not_before = Some(until.to_proto());
    let body = match job.runner.seal.seal(&call).await {
        Ok(body) => body.into(),
        Err(error) => {
            tracing::error!(job = %job.id, %error, "a snoozed job could not be encrypted");
            return Verdict::redeliver(wait, Reason::KeyUnavailable);
        }
    };
    let message = |body| Outgoing {
        body,
        attributes: park::routing(job.method.as_str(), &job.call.job_id),
        group_id: call.tenant.clone(),
        trace_header: job.delivery.trace_header.clone(),
    };
    let resend = |body| {
        let (outbox, source) = (&job.runner.outbox, &job.delivery.source);
        outbox.resend(source, message(body), wait.min(MAX_DELAY))
    };
    let sent = match resend(body).await {
        Err(OutboxError::TooLarge(why)) => match offload::lighter_of(job, call.clone()).await {
            Some(body) => resend(body).await,
            None => Err(OutboxError::TooLarge(why)),
        },
        sent => sent,
    };
    match sent {
        Ok(()) => {
            job.seen.snoozed();
            Verdict::Ack
        }
        Err(error) => {
            tracing::warn!(job = %job.id, %error, "a snoozed job stays in its message");
            Verdict::redeliver(wait, Reason::Snoozed)
        }
    }
}

//! Calling the handler: under its deadline, behind a guard, with the claim kept.

use crate::answers;
use crate::batch::Limits;
use crate::claim;
use crate::context::JobContext;
use crate::dispatch::Answer;
use crate::job::Job;
use crate::requests::{Breaks, Requests};
use crate::unserved;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::metadata::MetadataMap;

/// What became of a call.
pub(crate) enum Handled {
    Answered(Box<Answer>),
    Panicked,
    OutOfTime,
    Stopped,
    Expired,
    Cancelled,
    ClaimLost,
}

/// Whichever way the attempt ends, an open request ends with it, also for tasks of the
/// handler that outlive it.
pub(crate) async fn handle(
    job: &Job<'_>,
    requests: Requests,
    breaks: &Breaks,
    limits: &Limits,
) -> Handled {
    let _over = breaks.over.clone().drop_guard();
    let (runner, is_open) = (job.runner, requests.breaks().is_some());
    let now = job.now();
    let to_expiry = now.until(job.id.expires_at());
    let to_end = limits.ends_at.map(|end| end.saturating_duration_since(Instant::now()));
    let (remaining, late) = match to_end {
        Some(to_end) if to_end < to_expiry => (to_end, Handled::OutOfTime),
        _ => (to_expiry, Handled::Expired),
    };
    let cancelled = CancellationToken::new();
    let unanswered = cancelled.clone().drop_guard();
    let context = JobContext {
        id: job.id,
        attempt: job.attempt,
        deadline: now.plus(remaining),
        cancelled: cancelled.clone(),
        retry_of: (!job.call.retry_of.is_empty()).then(|| job.call.retry_of.as_str().into()),
        branch: job.call.membership.as_ref().map(|of| of.branch.as_str().into()),
        clock: runner.clock,
        reports: job.reports.clone(),
        trace: job.trace(),
    };
    let metadata = &job.call.metadata;
    let deadline = job.call.caller_deadline.then_some(to_expiry);
    let call = async {
        let called = runner.dispatcher.call(&job.method, requests, metadata, deadline, context);
        match called.await {
            Ok((initial, stream)) => answers::collect(job, initial, stream).await,
            Err(status) => {
                let descriptors = runner.settings.descriptors.as_deref();
                let status = unserved::explain(status, &job.method, descriptors);
                answers::failed(status, &MetadataMap::new())
            }
        }
    };
    let gives_way = || {
        cancelled.cancel();
        if is_open {
            breaks.over.cancel();
        }
    };
    let begun = Instant::now();
    job.seen.started(job.id.submitted_at().until(now), job.attempt);
    let handled = tokio::select! {
        // The handler first: one that is quick never starts a timer.
        biased;
        answer = AssertUnwindSafe(call).catch_unwind() => match answer {
            // It has read the broken end, whatever it made of that.
            Ok(_) if breaks.aborted.is_cancelled() => Handled::Cancelled,
            Ok(answer) if answer.code != Code::Ok && breaks.over.is_cancelled() => {
                Handled::Cancelled
            }
            Ok(answer) => Handled::Answered(Box::new(answer)),
            Err(_) => {
                tracing::error!(job = %job.id, method = %job.method, "a handler panicked");
                Handled::Panicked
            }
        },
        () = sleep(remaining) => late,
        ended = claim::keep(job, limits, gives_way) => ended,
        () = limits.stop.cancelled() => Handled::Stopped,
        () = breaks.aborted.cancelled() => Handled::Cancelled,
    };
    let code = match &handled {
        Handled::Answered(answer) => {
            unanswered.disarm();
            Some(answer.code)
        }
        _ => None,
    };
    job.seen.ended(begun.elapsed(), code);
    handled
}

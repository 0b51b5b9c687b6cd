//! The claim on a job: taking it, keeping it, giving it up.

use crate::batch::Limits;
use crate::finish::{self, Ending};
use crate::handle::Handled;
use crate::job::Job;
use crate::journal;
use crate::park;
use crate::runner::random;
use crate::verdict::{Reason, Verdict, backoff};
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::v1::LeasePolicy;
use queuebridge_store::{Author, Claim, ClaimRequest, Lapsed, Lease, Renewed, Token};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::Code;

/// Between two tries to reach a store that is down.
const STORE_BACKOFF: Duration = Duration::from_secs(2);
const STORE_BACKOFF_MAX: Duration = Duration::from_secs(120);
/// How long a handler that was told of its cancellation may take to give way.
const CANCEL_GRACE: Duration = Duration::from_secs(1);
/// A claim outlives the host's time by so much: for the last write, and for
/// clocks that differ.
const LEASE_MARGIN: Duration = Duration::from_secs(3);
/// Progress is written at most this often: a write costs money, and people
/// look no faster.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Claims the job, or says what becomes of the delivery.
pub(crate) async fn take(job: &mut Job<'_>, limits: &Limits) -> Result<(), Verdict> {
    let (token, now) = (Token::random(), job.now());
    let policy = policy(job);
    let lapsed = if policy == LeasePolicy::Retry { Lapsed::Take } else { Lapsed::Leave };
    let until = now.plus(lease(job, limits));
    let request = ClaimRequest::new(job.method.as_str(), token, until, lapsed);
    let claimed = job.runner.store.claim(&job.id, request.with_origin(job.origin()), now).await;
    let claim = claimed.map(|claimed| {
        if let (Claim::Granted { attempt }, true) = (&claimed.claim, claimed.took_over) {
            journal::lapsed(*attempt);
        }
        job.adopt(claimed.origin);
        claimed.claim
    });
    match claim {
        Ok(Claim::Granted { attempt }) => {
            job.author = Author::Claim(token);
            job.attempt = attempt;
            job.started_at = Some(now);
            Ok(())
        }
        Ok(Claim::Finished | Claim::Cancelled) => Err(job.over().await),
        Ok(Claim::HeldUntil(until)) => {
            let after = now.until(until).max(Duration::from_secs(1));
            Err(Verdict::redeliver(after, Reason::Held))
        }
        Ok(Claim::Lapsed) if policy == LeasePolicy::Hold => Err(park::held(job).await),
        Ok(Claim::Lapsed) => Err(fail_lost(job).await),
        Err(error) => {
            tracing::warn!(job = %job.id, %error, "a job could not be claimed");
            let receives = job.delivery.receive_count;
            let after = backoff(receives, STORE_BACKOFF, STORE_BACKOFF_MAX, random());
            Err(Verdict::redeliver(after, Reason::StoreUnavailable))
        }
    }
}

/// What a lease that ran out means for this job.
pub(crate) fn policy(job: &Job<'_>) -> LeasePolicy {
    match job.call.lease_policy() {
        LeasePolicy::Unspecified => LeasePolicy::Retry,
        policy => policy,
    }
}

/// As long as the host lets the worker live; a host without an end renews.
fn lease(job: &Job<'_>, limits: &Limits) -> Duration {
    match limits.ends_at {
        Some(end) => end.saturating_duration_since(Instant::now()) + LEASE_MARGIN,
        None => job.runner.settings.lease,
    }
}

async fn fail_lost(job: &Job<'_>) -> Verdict {
    match park::copy(job, park::reason::WORKER_LOST).await {
        Ok(_) => {
            let message = "the worker that ran the job was lost, and it is not to be run again";
            let status = error::status(Code::Aborted, reason::WORKER_LOST, message);
            finish::store(job, Ending::Failed(status)).await
        }
        Err(verdict) => verdict,
    }
}

/// Renews the claim and writes the handler's progress, until the claim is lost or
/// the job's cancellation is asked for, which `gives_way` tells the handler.
pub(crate) async fn keep(job: &Job<'_>, limits: &Limits, gives_way: impl Fn()) -> Handled {
    let Author::Claim(token) = job.author else { return std::future::pending().await };
    let third = job.runner.settings.lease / 3;
    let mut next_report = Instant::now();
    loop {
        let reported = async {
            job.reports.wait().await;
            sleep_until(next_report).await;
        };
        tokio::select! {
            () = sleep(third) => {}
            () = reported => {}
        }
        let now = job.now();
        let until = Lease::Until(now.plus(lease(job, limits)));
        let progress = job.reports.take();
        if progress.is_some() {
            next_report = Instant::now() + PROGRESS_EVERY;
            job.reports.note_stored();
        }
        match job.runner.store.renew(&job.id, token, until, progress, now).await {
            Ok(Renewed::Held { cancel_requested: false }) => {}
            Ok(Renewed::Held { cancel_requested: true }) => {
                job.reports.note_stored();
                gives_way();
                sleep(CANCEL_GRACE).await;
                return Handled::Cancelled;
            }
            Ok(Renewed::Lost) => return Handled::ClaimLost,
            // The lease has two more thirds to go.
            Err(error) => tracing::warn!(job = %job.id, %error, "a claim was not renewed"),
        }
    }
}

/// Renews the claim while `work` goes on after the handler's end, which a large answer
/// can make long. It is not ended when the claim is lost: the store refuses what comes
/// too late.
pub(crate) async fn kept<T>(job: &Job<'_>, work: impl Future<Output = T>) -> T {
    let lease = job.runner.settings.lease;
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = sleep(lease / 3) => {}
        }
        let Author::Claim(token) = job.author else { continue };
        let now = job.now();
        let until = Lease::Until(now.plus(lease));
        if let Err(error) = job.runner.store.renew(&job.id, token, until, None, now).await {
            tracing::warn!(job = %job.id, %error, "a claim was not renewed");
        }
    }
}

/// Gives the claim up. If somebody has asked for the job's cancellation meanwhile,
/// there will be no next attempt: the job is finished, and this is the verdict.
pub(crate) async fn release(job: &Job<'_>, lease: Lease) -> Option<Verdict> {
    let Author::Claim(token) = job.author else { return None };
    match job.runner.store.renew(&job.id, token, lease, None, job.now()).await {
        Ok(Renewed::Held { cancel_requested: true }) => {
            Some(finish::store_as(job, Author::Unclaimed, Ending::Cancelled).await)
        }
        Ok(Renewed::Held { cancel_requested: false } | Renewed::Lost) => None,
        Err(error) => {
            tracing::warn!(job = %job.id, %error, "a claim was not released");
            None
        }
    }
}

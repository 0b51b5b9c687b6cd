//! Calls without a request id that attach to the job of an equal earlier call, on routes
//! that have `attach_within`.
//!
//! Time is cut into windows of that length, and the jobs of equal calls of one window have
//! their keys in the submission store: the first one, and after each that has ended
//! without success the next. A call looks for the job of the window before as well, so
//! that a retry just after a window's edge finds what was sent just before it; and, where
//! a gateway's clock may be behind that of another, for that of the window to come.

use crate::identity::Identity;
use crate::submission::Submission;
use crate::submit::{FrontDoor, Ticket, digest, request_key, unreachable};
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::{State, TraceContext};
use queuebridge_proto::{JobId, UnixMillis};
use queuebridge_store::{Accepted, Owner, RequestKey};
use std::time::Duration;
use tonic::Status;

/// After so many jobs that have failed within one window, calls attach to nothing.
const MOST: u32 = 16;

/// Equal calls of one subject in one window.
struct Calls<'a> {
    caller: &'a Identity,
    job: &'a Submission,
    digest: [u8; 32],
    owner: Owner,
    within: Duration,
}

impl Calls<'_> {
    /// The key of their job number `number`.
    fn key(&self, window: u64, number: u32) -> RequestKey {
        let mut name = format!("{window}.{number}.");
        for byte in self.digest.into_iter().chain(self.owner) {
            name.push_str(&format!("{byte:02x}"));
        }
        // No method contains a blank: these keys and those of callers are apart.
        request_key(&self.caller.tenant, &format!("call {}", self.job.method), &name)
    }

    fn window(&self, at: UnixMillis) -> u64 {
        at.0 / u64::try_from(self.within.as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

impl FrontDoor {
    /// Submits the job of a call, unless it attaches to that of an earlier one.
    pub(crate) async fn submit_or_attach(
        &self,
        caller: &Identity,
        id: JobId,
        job: Submission,
        within: Duration,
        trace: Option<TraceContext>,
    ) -> Result<Ticket, Status> {
        self.check_size(caller, &id, &job, trace.as_ref())?;
        let (digest, owner) = (digest(&job), caller.owner());
        let calls = Calls { caller, job: &job, digest, owner, within };
        let now = self.clock.now();
        let window = calls.window(now);
        let (earlier, later) = (window.saturating_sub(1), calls.window(now.plus(CLOCK_SKEW)));
        let others = [Some(earlier), Some(later).filter(|later| *later != window)];
        for other in others.into_iter().flatten() {
            if let Some((key, known)) = self.standing(&calls, other, now).await? {
                return self.submit_as(caller, &key, known, job, trace).await;
            }
        }
        for number in 0..MOST {
            let key = calls.key(window, number);
            let accepted = self.record(caller, &key, &id, &digest).await?;
            if self.may_attach(&accepted, now).await? {
                return self.submit_as(caller, &key, (id, accepted), job, trace).await;
            }
        }
        self.publish(caller, &id, job, trace, false).await
    }

    /// The job of another window, if this call attaches to it.
    async fn standing(
        &self,
        calls: &Calls<'_>,
        window: u64,
        now: UnixMillis,
    ) -> Result<Option<(RequestKey, (JobId, Accepted))>, Status> {
        for number in 0..MOST {
            let key = calls.key(window, number);
            let found = self.recorded(calls.caller, &key).await?;
            let Some(Accepted::Existing { job, .. }) = &found else { return Ok(None) };
            let (job, found) = (*job, found.unwrap_or(Accepted::New));
            let in_time = job.submitted_at().until(now) < calls.within;
            if in_time && self.may_attach(&found, now).await? {
                return Ok(Some((key, (job, found))));
            }
        }
        Ok(None)
    }

    /// Whether a job is new, under way, or has succeeded.
    async fn may_attach(&self, accepted: &Accepted, now: UnixMillis) -> Result<bool, Status> {
        let Accepted::Existing { job, .. } = accepted else { return Ok(true) };
        let record = self.gathers.results.get(job, now).await.map_err(unreachable)?;
        let over = |state| matches!(state, State::Failed | State::Cancelled | State::Expired);
        Ok(match record {
            Some(record) if record.is_terminal() => !over(record.state),
            _ => now < job.expires_at(),
        })
    }
}

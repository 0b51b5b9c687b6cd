//! The arrows of the state machine as functions on a [`Record`].
//!
//! The memory store applies them under a lock. The other stores enforce the
//! same arrows by conditional writes, and ask these functions what a record
//! that refused a write means. A job without a record is judged like
//! [`Record::new`].

use crate::record::{Record, Token, is_terminal};
use crate::result::{
    Author, Cancelled, Claim, ClaimRequest, Completed, Deleted, End, Lapsed, Lease, Renewed,
    StoreError,
};
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::{GatherPlan, Outcome, Progress, State};
use queuebridge_proto::{JobId, UnixMillis, outcome};
use std::time::Duration;

/// Accepted or running -> running, when nobody holds the claim.
pub(crate) fn claim(record: &mut Record, request: &ClaimRequest<'_>, now: UnixMillis) -> Claim {
    let ClaimRequest { method, token, lease_until, lapsed, ref origin } = *request;
    if record.state == State::Cancelled {
        return Claim::Cancelled;
    }
    if record.is_terminal() {
        return Claim::Finished;
    }
    if record.token != Some(token) {
        if let Some(until) = held_until(record, now) {
            return Claim::HeldUntil(until);
        }
        if record.token.is_some() && lapsed == Lapsed::Leave {
            return Claim::Lapsed;
        }
        record.took_over = record.token.is_some();
        record.attempt = record.attempt.saturating_add(1);
        record.started_at = Some(now);
    }
    record.state = State::Running;
    record.token = Some(token);
    record.lease_until = lease_until;
    learn_method(record, method);
    record.origin.get_or_insert_with(|| origin.clone());
    Claim::Granted { attempt: record.attempt }
}

/// Running -> running, or running -> accepted, by the holder of the claim.
pub(crate) fn renew(
    record: &mut Record,
    token: Token,
    lease: Lease,
    progress: Option<Progress>,
) -> Renewed {
    if record.is_terminal() || record.token != Some(token) {
        return Renewed::Lost;
    }
    match lease {
        Lease::Until(until) => record.lease_until = until,
        Lease::Release | Lease::Return => {
            if lease == Lease::Return {
                record.attempt = record.attempt.saturating_sub(1);
            }
            record.state = State::Accepted;
            drop_claim(record);
        }
    }
    if progress.is_some() {
        record.progress = progress;
    }
    Renewed::Held { cancel_requested: record.cancel_requested }
}

/// Anything but terminal -> terminal.
pub(crate) fn complete(
    record: &mut Record,
    job: &JobId,
    method: &str,
    author: Author,
    end: End,
    now: UnixMillis,
) -> Completed {
    if record.is_terminal() {
        return Completed::AlreadyFinished;
    }
    if let Some(refused) = refused_by_time(job, author, end.state, now) {
        return refused;
    }
    let may = match author {
        Author::Claim(token) => record.token == Some(token),
        Author::Unclaimed => held_until(record, now).is_none(),
        Author::Expiry => true,
    };
    if !may {
        return Completed::Lost;
    }
    learn_method(record, method);
    record.origin = record.origin.take().or(end.origin);
    finish(record, job, (end.state, end.outcome), now);
    Completed::Stored
}

/// Accepted -> cancelled; running -> running with the wish noted.
pub(crate) fn cancel(record: &mut Record, job: &JobId, now: UnixMillis) -> Cancelled {
    if record.is_terminal() {
        return Cancelled::AlreadyFinished;
    }
    if past_expiry(job, now) {
        finish(record, job, (State::Expired, outcome::expired()), now);
        return Cancelled::AlreadyFinished;
    }
    if held_until(record, now).is_some() {
        record.cancel_requested = true;
        return Cancelled::Requested;
    }
    finish(record, job, (State::Cancelled, outcome::cancelled()), now);
    Cancelled::BeforeStart
}

/// Terminal -> terminal, without what was in it.
pub(crate) fn delete(record: &mut Record) -> Deleted {
    if !record.is_terminal() {
        return Deleted::NotFinished;
    }
    record.outcome = None;
    record.progress = None;
    Deleted::Deleted
}

fn finish(record: &mut Record, job: &JobId, (state, outcome): (State, Outcome), now: UnixMillis) {
    record.completed_at = Some(completed_at(job, state, now));
    record.state = state;
    record.outcome = Some(outcome);
    drop_claim(record);
}

fn drop_claim(record: &mut Record) {
    record.token = None;
    record.lease_until = UnixMillis(0);
}

/// What a reader may see of a stored record: nothing once the tombstone is over,
/// and no outcome once the retention is.
pub(crate) fn visible(
    mut record: Record,
    job: &JobId,
    copies_survive: Duration,
    now: UnixMillis,
) -> Option<Record> {
    if now >= record.tombstone_until(job, copies_survive) {
        return None;
    }
    if record.purge_at(job).is_some_and(|purge| now >= purge) {
        record.outcome = None;
    }
    Some(record)
}

/// When a job that ends now is said to have ended. An expiry has one time,
/// whoever notices it.
pub(crate) fn completed_at(job: &JobId, state: State, now: UnixMillis) -> UnixMillis {
    if state == State::Expired { job.expires_at() } else { now }
}

/// Whether only [`State::Expired`] can be written.
pub(crate) fn past_expiry(job: &JobId, now: UnixMillis) -> bool {
    now > job.expires_at().plus(CLOCK_SKEW)
}

/// What the clock alone says against a completion of a job that is not finished.
pub(crate) fn refused_by_time(
    job: &JobId,
    author: Author,
    state: State,
    now: UnixMillis,
) -> Option<Completed> {
    // What a gather has come to follows from its branches, whenever somebody looks.
    if state != State::Expired && past_expiry(job, now) && !job.is_gather() {
        return Some(Completed::PastExpiry);
    }
    let in_time = match (author, state) {
        (Author::Expiry, State::Expired) => now >= job.expires_at().plus(CLOCK_SKEW),
        (Author::Expiry, _) => false,
        (_, State::Expired) => now >= job.expires_at(),
        _ => true,
    };
    if in_time { None } else { Some(Completed::Lost) }
}

/// Refuses a completion that would not finish anything.
pub(crate) fn require_terminal(state: State) -> Result<(), StoreError> {
    if is_terminal(state) {
        return Ok(());
    }
    Err(StoreError(format!("a job cannot be completed as {}", state.as_str_name())))
}

/// The latest end of the tombstone of a job: what a request key is kept for,
/// because it is written before anybody knows when the job ends.
pub(crate) fn request_key_until(job: &JobId, copies_survive: Duration) -> UnixMillis {
    Record::new("").tombstone_until(job, copies_survive).plus(CLOCK_SKEW)
}

/// Until when the plan of a gather rests: as long as any record of it or of its branches.
pub(crate) fn gather_until(
    gather: &JobId,
    plan: &GatherPlan,
    copies_survive: Duration,
) -> UnixMillis {
    let branches = UnixMillis(plan.expires_at).plus(gather.retention() + copies_survive);
    request_key_until(gather, copies_survive).max(branches)
}

/// The same for a tally, whose writers do not know the plan: the branches have no more
/// time than what a queue can keep a message for.
pub(crate) fn tally_until(gather: &JobId, copies_survive: Duration) -> UnixMillis {
    request_key_until(gather, copies_survive).plus(copies_survive)
}

/// Until when the chunks of a stream rest: as long as any result of the job.
pub(crate) fn stream_until(job: &JobId) -> UnixMillis {
    job.expires_at().plus(job.retention() + CLOCK_SKEW * 2)
}

/// The end of the live lease, if there is one. A lease ends at its last
/// millisecond, so that two attempts never share one.
fn held_until(record: &Record, now: UnixMillis) -> Option<UnixMillis> {
    record.token.filter(|_| record.lease_until > now).map(|_| record.lease_until)
}

fn learn_method(record: &mut Record, method: &str) {
    if record.method.is_empty() {
        record.method.push_str(method);
    }
}

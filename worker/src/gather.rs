//! What the end of a branch does for its gather: it is noted, and if the rule is decided
//! by it, the verdict is written and told.
//!
//! Every step can be repeated, and is, when the message of a finished branch comes back.
//! The verdict names the branch whose end has decided it: that branch's deliveries tell
//! it, and no others. When the verdict was deleted, or its retention is over, nobody can
//! say any more who that was: then everyone who may have been tells it.

use crate::announce;
use crate::callback;
use crate::job::Job;
use crate::journal;
use crate::runner::random;
use crate::verdict::{Reason, Verdict, backoff};
use queuebridge_proto::gather::{Standing, code, decide, is_success};
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::{Membership, Outcome, State};
use queuebridge_proto::{JobId, UnixMillis};
use queuebridge_store::gather::{Cause, ROOT, TALLY, Tally, size_of_tally};
use queuebridge_store::{Record, StoreError};
use std::time::Duration;

/// Between two tries to reach a store.
const BACKOFF: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_secs(120);

/// The branch `job` of the gather `id` has just ended.
pub(crate) async fn ended(
    job: &Job<'_>,
    id: &JobId,
    state: State,
    outcome: &Outcome,
    at: UnixMillis,
) -> Verdict {
    let at = if state == State::Expired { job.id.expires_at() } else { at };
    let success =
        job.call.membership.as_ref().is_some_and(|of| succeeded(of, state, Some(outcome)));
    tell(job, id, note(job, id, success, at).await).await
}

/// The branch was found finished.
pub(crate) async fn found(job: &Job<'_>, id: &JobId) -> Verdict {
    let noted = async {
        let Some(record) = job.runner.store.get(&job.id, job.now()).await? else {
            // Its tombstone is over, and the gather's with it.
            return Ok(None);
        };
        let at = record.completed_at.unwrap_or_else(|| job.now());
        let Some(of) = &job.call.membership else { return Ok(None) };
        let success = match &record.outcome {
            // Its code is gone: what it was noted as stays, or it would be in both sets.
            None if record.state == State::Failed => was_success(job, id, of).await?,
            outcome => succeeded(of, record.state, outcome.as_ref()),
        };
        note(job, id, success, at).await
    };
    tell(job, id, noted.await).await
}

/// The number of the branch, from 1, whose end has decided a gather; 0 if it was something
/// else. `None` when nobody can say it any more.
pub(crate) fn decided_by(verdict: &Record) -> Option<u32> {
    verdict.outcome.as_ref()?.gather.as_ref().map(|report| report.decided_by)
}

fn succeeded(of: &Membership, state: State, outcome: Option<&Outcome>) -> bool {
    of.rule.as_ref().is_some_and(|rule| is_success(rule, state, code(state, outcome)))
}

async fn was_success(job: &Job<'_>, id: &JobId, of: &Membership) -> Result<bool, StoreError> {
    let gathers = &job.runner.gathers.gathers;
    let tally = gathers.tally(id, of.index / TALLY, job.now()).await?;
    Ok(u8::try_from(of.index % TALLY).is_ok_and(|index| tally.succeeded.contains(index)))
}

/// Adds the branch to its tally, and answers the verdict if this branch has decided it.
async fn note(
    job: &Job<'_>,
    id: &JobId,
    success: bool,
    at: UnixMillis,
) -> Result<Option<Record>, StoreError> {
    let Some(of) = &job.call.membership else { return Ok(None) };
    // What ends at the deadline or later decides nothing, and counts for nothing.
    if at >= id.expires_at() {
        return Ok(None);
    }
    let (gathers, now) = (&job.runner.gathers, job.now());
    let tally = gathers.gathers.add(id, of.index, success, now).await?;
    let rule = of.rule.clone().unwrap_or_default();
    let decided = decide(&rule, &standing(of, &tally), false).is_some();
    if !(decided || all_have_ended(job, id, of, &tally).await?) {
        return Ok(None);
    }
    let verdict = gathers.close(id, Cause::Branch(of.index), now).await?;
    Ok(verdict.filter(|verdict| is_mine(verdict, of.index, at)))
}

/// Whether the branch that ended `at` this time has decided it, or may have.
fn is_mine(verdict: &Record, index: u32, at: UnixMillis) -> bool {
    match decided_by(verdict) {
        Some(number) => number == index + 1,
        // Who decides has ended before the verdict is written, by clocks that differ.
        None => verdict.completed_at.is_none_or(|then| at <= then.plus(CLOCK_SKEW)),
    }
}

/// Whether this branch was the last of all, where there are several tallies.
async fn all_have_ended(
    job: &Job<'_>,
    id: &JobId,
    of: &Membership,
    tally: &Tally,
) -> Result<bool, StoreError> {
    let number = of.index / TALLY;
    if of.total <= TALLY || tally.ended() < size_of_tally(number, of.total) {
        return Ok(false);
    }
    let full = job.runner.gathers.gathers.add(id, ROOT + number, true, job.now()).await?;
    Ok(full.ended() >= of.total.div_ceil(TALLY))
}

fn standing(of: &Membership, tally: &Tally) -> Standing {
    let primary = of.primary.checked_sub(1).and_then(|index| u8::try_from(index).ok());
    let primary = primary.and_then(|index| {
        let (good, bad) = (tally.succeeded.contains(index), tally.failed.contains(index));
        (good || bad).then_some(good)
    });
    let (succeeded, failed) = (tally.succeeded.count(), tally.failed.count());
    Standing { total: of.total, succeeded, failed, primary }
}

async fn tell(job: &Job<'_>, id: &JobId, verdict: Result<Option<Record>, StoreError>) -> Verdict {
    match verdict {
        Ok(None) => Verdict::Ack,
        Ok(Some(verdict)) => {
            journal::decided(id, &verdict);
            let finished = verdict.outcome.is_some().then(|| verdict.clone().into_finished());
            announce::announce(job, id, finished).await;
            if let Err(error) = job.runner.gathers.cancel_rest(id, &verdict, job.now()).await {
                return not_noted(job, id, &error);
            }
            let of = job.call.membership.clone().unwrap_or_default();
            callback::enqueue_of(job, &of.gather_id, &of.gather_method).await
        }
        Err(error) => not_noted(job, id, &error),
    }
}

fn not_noted(job: &Job<'_>, id: &JobId, error: &StoreError) -> Verdict {
    tracing::warn!(job = %job.id, gather = %id, %error, "a branch's end was not noted");
    let receives = job.delivery.receive_count;
    let after = backoff(receives, BACKOFF, BACKOFF_MAX, random());
    Verdict::redeliver(after, Reason::StoreUnavailable)
}

//! Writing the verdict of a gather.
//!
//! The tallies only say when it is worth looking. The verdict follows from the records
//! of the branches, of which those count that had ended before the deadline: whoever
//! writes it, and whenever, comes to the same. Of groups that are too large to be read the
//! tallies count instead: what was noted of them by then.

use super::standing::at_deadline;
use super::{GatherStore, TALLY, Tally, outcome};
use crate::RECORD_BYTES;
use crate::payload::PayloadStore;
use crate::record::{Record, is_terminal};
use crate::result::{Author, Completed, End, ResultStore, StoreError};
use crate::rules;
use futures_util::future::try_join;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use queuebridge_proto::gather::{self, Decision, Standing};
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::{GatherPlan, State};
use queuebridge_proto::{JobId, UnixMillis, outcome as outcomes};
use std::future::ready;
use std::sync::Arc;

/// Records that are read at once.
const READS: usize = 32;

/// Why somebody looks whether a gather is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The branch of this number has ended.
    Branch(u32),
    /// A branch could not be sent, and its end was written for it.
    Unsent,
    /// The deadline may have passed.
    Deadline,
    /// The caller does not want it any more.
    Cancelled,
}

/// Decides gathers.
#[derive(Clone)]
pub struct Gathers {
    /// The branches' records, and the gather's own.
    pub results: Arc<dyn ResultStore>,
    /// Plans and tallies.
    pub gathers: Arc<dyn GatherStore>,
    /// Where large answers are.
    pub payloads: Option<Arc<dyn PayloadStore>>,
    /// The largest outcome that the result store can hold.
    pub record_bytes: usize,
}

/// The ids of the branches, in their order and without signatures.
pub fn branch_ids(gather: &JobId, plan: &GatherPlan) -> Vec<JobId> {
    let until = UnixMillis(plan.expires_at);
    let id = |index: u32| gather.branch(index, method_of(plan, index), until);
    (0..gather::total(plan)).map(id).collect()
}

/// The method that a branch calls.
#[must_use]
pub fn method_of(plan: &GatherPlan, index: u32) -> &str {
    let branch = usize::try_from(index).ok().and_then(|index| plan.branches.get(index));
    branch.map_or(&plan.method, |branch| &branch.method)
}

impl Gathers {
    /// Over one store in both roles.
    #[must_use]
    pub fn new<S>(store: Arc<S>, payloads: Option<Arc<dyn PayloadStore>>) -> Self
    where
        S: ResultStore + GatherStore,
    {
        Self { results: store.clone(), gathers: store, payloads, record_bytes: RECORD_BYTES }
    }

    /// Writes the verdict if it can be said by now, and answers the record as it then
    /// stands; `None` while nothing is decided, and when there is no plan (any more).
    /// May be repeated: the first verdict stays.
    ///
    /// # Errors
    /// When a store cannot be asked.
    pub async fn close(
        &self,
        id: &JobId,
        cause: Cause,
        now: UnixMillis,
    ) -> Result<Option<Record>, StoreError> {
        let (plan, known) = try_join(self.gathers.plan(id, now), self.results.get(id, now)).await?;
        if let Some(known) = known.filter(Record::is_terminal) {
            return Ok(Some(known));
        }
        let Some(plan) = plan else { return Ok(None) };
        let over = now >= id.expires_at().plus(CLOCK_SKEW);
        if cause == Cause::Deadline && !over {
            return Ok(None);
        }
        let rule = plan.rule.clone().unwrap_or_default();
        let (standing, records) = if plan.total > 0 {
            // Too many to be read: what is noted by now counts.
            let sum = self.sum(id, plan.total, now).await?;
            let one = match cause {
                Cause::Branch(index) => self.branch(id, &plan, index, now).await?,
                _ => None,
            };
            (sum, vec![one])
        } else {
            let mut records = self.branches(id, &plan, now).await?;
            if cause == Cause::Deadline {
                self.expire_branches(id, &plan, &mut records, now).await?;
            }
            let standing = self.standing(id, &plan, &records, now).await?;
            let at_deadline = |record: Record| at_deadline(record, id);
            (standing, records.into_iter().map(|record| record.map(at_deadline)).collect())
        };
        let decision = gather::decide(&rule, &standing, over);
        let verdict = match (decision, cause) {
            (_, Cause::Cancelled) => outcome::Verdict::Cancelled,
            (Some(Decision::Met), _) => outcome::Verdict::Met,
            (Some(Decision::Failed), _) => outcome::Verdict::Failed,
            (None, Cause::Deadline) => outcome::Verdict::Expired,
            (None, Cause::Branch(_) | Cause::Unsent) => return Ok(None),
        };
        let decided_by = match cause {
            Cause::Branch(index) => index.saturating_add(1),
            Cause::Unsent | Cause::Deadline | Cause::Cancelled => 0,
        };
        let method = plan.method.clone();
        let (state, outcome) =
            self.outcome(id, plan, (standing, records), verdict, decided_by).await?;
        let author = if state == State::Expired { Author::Expiry } else { Author::Unclaimed };
        let stored = Record {
            state,
            completed_at: Some(rules::completed_at(id, state, now)),
            outcome: Some(outcome.clone()),
            ..Record::new(&method)
        };
        if cause == Cause::Deadline {
            // Before it is written: afterwards nobody would come back to it, and nothing
            // that ends now changes it any more.
            self.cancel_rest(id, &stored, now).await?;
        }
        let end = End::new(state, outcome);
        let known = match self.results.complete(id, &method, author, end, now).await? {
            Completed::Stored => return Ok(Some(stored)),
            Completed::AlreadyFinished => self.results.get(id, now).await?,
            Completed::Lost | Completed::PastExpiry => None,
        };
        self.forget_merged(&stored, known.as_ref()).await;
        Ok(known)
    }

    /// Cancels the branches that had not ended at the verdict, where the rule wants it.
    /// Safe to repeat.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn cancel_rest(
        &self,
        id: &JobId,
        verdict: &Record,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let report = verdict.outcome.as_ref().and_then(|outcome| outcome.gather.as_deref());
        let plan = match report.and_then(|report| report.plan.clone()) {
            Some(plan) => Some(plan),
            // The report may be forgotten before what follows from it is done.
            None => self.gathers.plan(id, now).await?,
        };
        let Some(plan) = plan else { return Ok(()) };
        let wanted = plan.rule.as_ref().is_some_and(|rule| rule.cancel_rest);
        if !wanted && verdict.state != State::Cancelled {
            return Ok(());
        }
        let ids = branch_ids(id, &plan);
        let ended = |index: usize| {
            let branch = report.and_then(|report| report.branches.get(index));
            branch.is_some_and(|branch| is_terminal(branch.state()))
        };
        let rest = ids.into_iter().enumerate();
        let rest: Vec<JobId> = rest.filter(|(at, _)| !ended(*at)).map(|(_, id)| id).collect();
        let cancel = |branch: JobId| async move { self.results.cancel(&branch, now).await };
        let cancels = stream::iter(rest).map(cancel).buffer_unordered(READS);
        cancels.try_for_each(|_| ready(Ok(()))).await
    }

    /// What all tallies say together.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn sum(
        &self,
        id: &JobId,
        total: u32,
        now: UnixMillis,
    ) -> Result<Standing, StoreError> {
        let id = *id;
        let read = |number: u32| async move { self.gathers.tally(&id, number, now).await };
        let tallies = stream::iter(0..total.div_ceil(TALLY)).map(read).buffered(READS);
        let none = Standing { total, ..Standing::default() };
        let add = |sum: Standing, tally: Tally| {
            let succeeded = sum.succeeded + tally.succeeded.count();
            ready(Ok(Standing { succeeded, failed: sum.failed + tally.failed.count(), ..sum }))
        };
        tallies.try_fold(none, add).await
    }

    async fn branch(
        &self,
        id: &JobId,
        plan: &GatherPlan,
        index: u32,
        now: UnixMillis,
    ) -> Result<Option<Record>, StoreError> {
        let until = UnixMillis(plan.expires_at);
        self.results.get(&id.branch(index, method_of(plan, index), until), now).await
    }

    /// The records of the branches, in their order.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn branches(
        &self,
        id: &JobId,
        plan: &GatherPlan,
        now: UnixMillis,
    ) -> Result<Vec<Option<Record>>, StoreError> {
        let ids = stream::iter(branch_ids(id, plan));
        let read = |branch: JobId| async move { self.results.get(&branch, now).await };
        ids.map(read).buffered(READS).try_collect().await
    }

    /// Past their work expiry all branches have ended. Of those that nobody has claimed
    /// nothing is written: nothing else can be said of them any more. Those that somebody
    /// has claimed may still be finished by a clock that is behind, unless their end is
    /// stored.
    async fn expire_branches(
        &self,
        id: &JobId,
        plan: &GatherPlan,
        records: &mut [Option<Record>],
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        if now < UnixMillis(plan.expires_at).plus(CLOCK_SKEW) {
            return Ok(());
        }
        let ids = branch_ids(id, plan);
        let claimed = |record: &Option<Record>| record.as_ref().is_some_and(|r| !r.is_terminal());
        let open = ids.iter().enumerate().filter(|(at, _)| claimed(&records[*at]));
        let open: Vec<(usize, JobId)> = open.map(|(at, id)| (at, *id)).collect();
        let expire = |(at, id): (usize, JobId)| async move {
            let end = End::new(State::Expired, outcomes::expired());
            let method = &plan.branches[at].method;
            self.results.complete(&id, method, Author::Expiry, end, now).await?;
            Ok::<_, StoreError>((at, self.results.get(&id, now).await?))
        };
        let ends: Vec<_> =
            stream::iter(open).map(expire).buffer_unordered(READS).try_collect().await?;
        for (at, record) in ends {
            records[at] = record;
        }
        for ((record, id), branch) in records.iter_mut().zip(ids).zip(&plan.branches) {
            record.get_or_insert_with(|| Record {
                state: State::Expired,
                completed_at: Some(id.expires_at()),
                outcome: Some(outcomes::expired()),
                ..Record::new(&branch.method)
            });
        }
        Ok(())
    }
}

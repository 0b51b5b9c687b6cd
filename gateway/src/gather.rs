//! Looking at jobs with branches.

mod closes;
mod ending;
mod report;
mod standing;

pub use closes::Closes;

use crate::lookup::{Found, Lookup, purged, unreachable};
use crate::reading::Reading;
use crate::view;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::gather::{Standing, total};
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::{Branch, Gather, GatherPlan, Job, ListBranchesResponse, State};
use queuebridge_proto::{JobId, UnixMillis, outcome};
use queuebridge_store::Record;
use queuebridge_store::gather::{Cause, ROOT, TALLY, branch_ids, method_of};
use standing::Listed;
use tonic::{Code, Status};

/// Branches on a page.
const PAGE: u32 = 100;
const MAX_PAGE: u32 = 256;
/// Branches that are looked at at once.
const LOOKS: usize = 16;

impl Lookup {
    /// A gather whose deadline has passed is decided now, if it was not before.
    pub(crate) async fn close(
        &self,
        id: &JobId,
        now: UnixMillis,
    ) -> Result<Option<Record>, Status> {
        self.decide(id, Cause::Deadline, now).await
    }

    /// In turn with all others who would. Whoever has waited finds what they have written
    /// before anything else is read.
    async fn decide(
        &self,
        id: &JobId,
        cause: Cause,
        now: UnixMillis,
    ) -> Result<Option<Record>, Status> {
        let _turn = self.closes.turn(id).await;
        self.gathers.close(id, cause, now).await.map_err(|e| unreachable(&e))
    }

    /// About how many branches have ended: those of the first tally, and of large groups
    /// later those of full ones.
    pub(crate) async fn ended(&self, id: &JobId) -> Result<u32, Status> {
        let (now, gathers) = (self.clock.now(), &self.gathers.gathers);
        let first = gathers.tally(id, 0, now).await.map_err(|e| unreachable(&e))?;
        if first.ended() < TALLY {
            return Ok(first.ended());
        }
        let full = gathers.tally(id, ROOT / TALLY, now).await.map_err(|e| unreachable(&e))?;
        Ok(first.ended().max(full.ended() * TALLY))
    }

    /// A gather that is not decided yet, with what its branches have come to.
    pub(crate) async fn gathering(&self, reading: &Reading) -> Result<Job, Status> {
        let (id, now) = (reading.id(), self.clock.now());
        let plan = self.gathers.gathers.plan(id, now).await.map_err(|e| unreachable(&e))?;
        let Some(plan) = plan else { return Ok(view::accepted(id, self.methods.of(id))) };
        if plan.total > 0 {
            return self.counted(reading, &plan, now).await;
        }
        let ids = branch_ids(id, &plan);
        let listed = ids.iter().zip(&plan.branches).map(|(id, branch)| Listed {
            id: *id,
            method: branch.method.clone(),
            known: None,
        });
        let most = self.max_response_bytes / 2;
        let branches = self.standing(reading, listed.collect(), most, false).await?;
        let mut job = view::accepted(id, plan.method.clone());
        if branches.iter().any(|branch| branch.state() != State::Accepted) {
            job.set_state(State::Running);
        }
        let mut gather = view::gather(&plan, branches, &[]);
        reading.withhold(&mut gather, ids);
        job.gather = Some(Box::new(gather));
        Ok(job)
    }

    /// A gather of more branches than are listed.
    async fn counted(
        &self,
        reading: &Reading,
        plan: &GatherPlan,
        now: UnixMillis,
    ) -> Result<Job, Status> {
        let id = reading.id();
        let tallies = usize::try_from(plan.total.div_ceil(TALLY)).unwrap_or(usize::MAX);
        self.quotas.may_read(reading.tenant())?;
        self.quotas.have_read(reading.tenant(), tallies);
        let sum = self.gathers.sum(id, plan.total, now).await.map_err(|e| unreachable(&e))?;
        let mut job = view::accepted(id, plan.method.clone());
        if sum.succeeded + sum.failed > 0 {
            job.set_state(State::Running);
        }
        let Standing { total, succeeded, failed, .. } = sum;
        let rule = plan.rule.clone();
        job.gather = Some(Box::new(Gather { rule, total, succeeded, failed, branches: vec![] }));
        Ok(job)
    }

    /// A page of the branches of a gather, as they stand.
    pub(crate) async fn page(
        &self,
        reading: &Reading,
        size: u32,
        token: &str,
    ) -> Result<ListBranchesResponse, Status> {
        let id = reading.id();
        let none = || error::status(Code::NotFound, reason::NO_BRANCH, "the job has no branches");
        if !id.is_gather() {
            return Err(none());
        }
        let first = match token {
            "" => Some(0),
            token => token.parse::<u32>().ok(),
        };
        let wrong = || error::invalid_field("page_token", "not a token of this job");
        let first = first.ok_or_else(wrong)?;
        let size = match size {
            0 => PAGE,
            size @ 1..=MAX_PAGE => size,
            _ => return Err(error::invalid_field("page_size", "from 1 to 256")),
        };
        if matches!(self.find(id).await?, Found::Purged) {
            return Err(purged());
        }
        let plan = self.gathers.gathers.plan(id, self.clock.now()).await;
        let plan = plan.map_err(|e| unreachable(&e))?.ok_or_else(none)?;
        let all = total(&plan);
        if first > all {
            return Err(wrong());
        }
        let end = first.saturating_add(size).min(all);
        let until = UnixMillis(plan.expires_at);
        let listed = (first..end).map(|index| {
            let method = method_of(&plan, index);
            let id = id.branch(index, method, until);
            Listed { id, method: method.to_owned(), known: None }
        });
        let listed: Vec<Listed> = listed.collect();
        let ids: Vec<JobId> = listed.iter().map(|branch| branch.id).collect();
        let jobs = self.standing(reading, listed, self.max_response_bytes, false).await?;
        let branch = |((index, id), mut job): ((u32, JobId), Job)| {
            let planned = usize::try_from(index).ok().and_then(|index| plan.branches.get(index));
            let name = planned.map_or_else(|| index.to_string(), |branch| branch.name.clone());
            if !reading.reaches(&id) {
                view::withhold(&mut job);
            }
            Branch { name, job: Some(job), late: false }
        };
        let branches = (first..end).zip(ids).zip(jobs).map(branch).collect();
        let next_page_token = if end < all { end.to_string() } else { String::new() };
        Ok(ListBranchesResponse { branches, next_page_token })
    }

    /// A branch as it stands; of one whose result is gone at least how it ended. Whoever
    /// lists branches writes nothing: past the work expiry only that can be written of a
    /// branch, so that it may be said before it is.
    pub(crate) async fn now(&self, id: &JobId) -> Result<Record, Status> {
        let now = self.clock.now();
        let record = self.store.get(id, now).await.map_err(|e| unreachable(&e))?;
        let mut record = record.unwrap_or_else(|| Record::new(""));
        if now >= id.expires_at().plus(CLOCK_SKEW) && !record.is_terminal() {
            record.state = State::Expired;
            record.completed_at = Some(id.expires_at());
            record.progress = None;
            record.outcome = Some(outcome::expired());
        }
        if record.purge_at(id).is_some_and(|at| at <= now) {
            record.outcome = None;
        }
        Ok(record)
    }

    pub(crate) fn branch(&self, id: &JobId, method: &str, mut record: Record) -> Job {
        let method = match std::mem::take(&mut record.method) {
            known if known.is_empty() => method.to_owned(),
            known => known,
        };
        view::recorded(&id.signed(&self.job_id_keys), method, record)
    }
}

/// A gather that was accepted just now.
pub(crate) fn accepted(id: &JobId, plan: &GatherPlan, lookup: &Lookup) -> Job {
    let mut job = view::accepted(id, plan.method.clone());
    let branches = branch_ids(id, plan);
    let branches = branches.iter().zip(&plan.branches);
    let branches = branches
        .map(|(id, branch)| view::accepted(&id.signed(&lookup.job_id_keys), branch.method.clone()))
        .collect();
    job.gather = Some(Box::new(view::gather(plan, branches, &[])));
    job
}

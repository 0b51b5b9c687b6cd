//! Looking at jobs with branches.

use crate::lookup::{Found, Lookup, purged, unreachable};
use crate::view;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use prost::Message;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::gather::{Standing, keeps_late, total};
use queuebridge_proto::v1::outcome::Result as Kind;
use queuebridge_proto::v1::{
    Branch, FinishedJob, Gather, GatherPlan, GatherReport, Job, ListBranchesResponse, State,
};
use queuebridge_proto::{JobId, UnixMillis};
use queuebridge_store::Record;
use queuebridge_store::gather::{Cause, ROOT, TALLY, branch_ids, method_of};
use queuebridge_store::record::is_terminal;
use std::future::ready;
use tonic::{Code, Status};

/// Branches on a page.
const PAGE: u32 = 100;
const MAX_PAGE: u32 = 256;
/// Branches that are looked at at once.
const LOOKS: usize = 32;

impl Lookup {
    /// A gather whose deadline has passed is decided now, if it was not before.
    pub(crate) async fn close(&self, id: &JobId, now: UnixMillis) -> Result<(), Status> {
        let verdict = self.gathers.close(id, Cause::Deadline, now).await;
        if let Some(verdict) = verdict.map_err(|e| unreachable(&e))? {
            let rest = self.gathers.cancel_rest(id, &verdict, now);
            rest.await.map_err(|e| unreachable(&e))?;
        }
        Ok(())
    }

    /// About how many branches have ended: those of full tallies are counted as wholes.
    pub(crate) async fn ended(&self, id: &JobId) -> Result<u32, Status> {
        let (now, gathers) = (self.clock.now(), &self.gathers.gathers);
        let first = gathers.tally(id, 0, now).await.map_err(|e| unreachable(&e))?;
        if first.ended() < TALLY {
            return Ok(first.ended());
        }
        let full = gathers.tally(id, ROOT / TALLY, now).await.map_err(|e| unreachable(&e))?;
        Ok(full.ended() * TALLY)
    }

    /// A gather that is not decided yet, with what its branches have come to.
    pub(crate) async fn gathering(&self, id: &JobId) -> Result<Job, Status> {
        let now = self.clock.now();
        let plan = self.gathers.gathers.plan(id, now).await.map_err(|e| unreachable(&e))?;
        let Some(plan) = plan else { return Ok(view::accepted(id, self.methods.of(id))) };
        if plan.total > 0 {
            return self.counted(id, &plan, now).await;
        }
        let records = self.gathers.branches(id, &plan, now).await.map_err(|e| unreachable(&e))?;
        let mut job = view::accepted(id, plan.method.clone());
        if records.iter().any(Option::is_some) {
            job.set_state(State::Running);
        }
        let ids = branch_ids(id, &plan);
        let branches = ids.iter().zip(&plan.branches).zip(records);
        let branches = branches.map(|((id, branch), record)| {
            self.branch(id, &branch.method, record.unwrap_or_else(|| Record::new("")))
        });
        let mut branches: Vec<Job> = branches.collect();
        view::shorten(&mut branches, self.max_response_bytes / 2);
        job.gather = Some(Box::new(view::gather(&plan, branches, &[])));
        Ok(job)
    }

    /// A gather of more branches than are listed.
    async fn counted(&self, id: &JobId, plan: &GatherPlan, now: UnixMillis) -> Result<Job, Status> {
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
        id: &JobId,
        size: u32,
        token: &str,
    ) -> Result<ListBranchesResponse, Status> {
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
        let ids =
            (first..end).map(|index| (index, id.branch(index, method_of(&plan, index), until)));
        let look = |(index, id): (u32, JobId)| async move {
            Ok::<_, Status>((index, id, self.now(&id).await?))
        };
        let found = stream::iter(ids).map(look).buffered(LOOKS);
        let found: Vec<(u32, JobId, Record)> = found.try_collect().await?;
        let (mut branches, mut jobs) = (Vec::new(), Vec::new());
        for (index, id, record) in found {
            let planned = usize::try_from(index).ok().and_then(|index| plan.branches.get(index));
            let name = planned.map_or_else(|| index.to_string(), |branch| branch.name.clone());
            branches.push(Branch { name, ..Branch::default() });
            jobs.push(self.branch(&id, method_of(&plan, index), record));
        }
        view::shorten(&mut jobs, self.max_response_bytes);
        branches.iter_mut().zip(jobs).for_each(|(branch, job)| branch.job = Some(job));
        let next_page_token = if end < all { end.to_string() } else { String::new() };
        Ok(ListBranchesResponse { branches, next_page_token })
    }

    /// The branches of a gather that is decided: as they were then, and those that came
    /// late as they are now, where the rule keeps them.
    pub(crate) async fn reported(
        &self,
        id: &JobId,
        report: GatherReport,
        most: usize,
    ) -> Result<Gather, Status> {
        let plan = report.plan.unwrap_or_default();
        if plan.total > 0 {
            let GatherReport { succeeded, failed, .. } = report;
            let rule = plan.rule.clone();
            return Ok(Gather { rule, total: plan.total, succeeded, failed, branches: vec![] });
        }
        let keeps = plan.rule.as_ref().is_none_or(keeps_late);
        let late: Vec<bool> =
            report.branches.iter().map(|branch| !is_terminal(branch.state())).collect();
        let methods: Vec<String> = plan.branches.iter().map(|b| b.method.clone()).collect();
        let each = branch_ids(id, &plan).into_iter().zip(methods).zip(report.branches);
        let look = |((id, method), then): ((JobId, String), FinishedJob)| async move {
            let then = Record::of_finished(then);
            let record = if keeps && !then.is_terminal() { self.now(&id).await? } else { then };
            Ok::<_, Status>(self.branch(&id, &method, record))
        };
        let branches = stream::iter(each).map(look).buffered(LOOKS);
        let mut branches: Vec<Job> = branches.try_collect().await?;
        view::shorten(&mut branches, most);
        Ok(view::gather(&plan, branches, &late))
    }

    /// A branch as it stands.
    async fn now(&self, id: &JobId) -> Result<Record, Status> {
        Ok(match Box::pin(self.find(id)).await? {
            Found::Underway(record) | Found::Finished(record) => record,
            Found::Pending | Found::Gathering(_) | Found::Purged => Record::new(""),
        })
    }

    fn branch(&self, id: &JobId, method: &str, mut record: Record) -> Job {
        let method = match std::mem::take(&mut record.method) {
            known if known.is_empty() => method.to_owned(),
            known => known,
        };
        view::recorded(&id.signed(&self.job_id_keys), method, record)
    }

    pub(crate) async fn cancel_gather(&self, id: &JobId) -> Result<(), Status> {
        let now = self.clock.now();
        let verdict = self.gathers.close(id, Cause::Cancelled, now).await;
        if let Some(verdict) = verdict.map_err(|e| unreachable(&e))? {
            let rest = self.gathers.cancel_rest(id, &verdict, now);
            rest.await.map_err(|e| unreachable(&e))?;
        }
        Ok(())
    }

    /// Forgets the answers of the branches, and cancels those that have none yet.
    pub(crate) async fn delete_branches(
        &self,
        id: &JobId,
        tenant: &str,
        verdict: &Record,
    ) -> Result<(), Status> {
        let report = verdict.outcome.as_ref().and_then(|outcome| outcome.gather.as_ref());
        let Some(plan) = report.and_then(|report| report.plan.as_ref()) else { return Ok(()) };
        let forget = |branch: JobId| self.delete_branch(id.at_least_once(), tenant, branch);
        let all = stream::iter(branch_ids(id, plan)).map(forget).buffer_unordered(LOOKS);
        all.try_for_each(|()| ready(Ok(()))).await
    }

    async fn delete_branch(
        &self,
        unclaimed: bool,
        tenant: &str,
        branch: JobId,
    ) -> Result<(), Status> {
        {
            match Box::pin(self.find(&branch)).await? {
                Found::Finished(record) => {
                    self.delete_payloads(&branch, tenant, &record).await?;
                    let deleted = self.store.delete(&branch, self.clock.now()).await;
                    deleted.map_err(|e| unreachable(&e))?;
                }
                Found::Pending | Found::Underway(_) if !unclaimed => {
                    let cancelled = self.store.cancel(&branch, self.clock.now()).await;
                    cancelled.map_err(|e| unreachable(&e))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The record of a gather whose answer is the list, with the list as its answer.
    pub(crate) async fn listed(&self, id: &JobId, mut record: Record) -> Result<Record, Status> {
        if let Some(outcome) = &mut record.outcome
            && let Some(report) = outcome.gather.take()
        {
            let list = self.reported(id, *report, self.max_response_bytes / 2).await?;
            outcome.result = Some(Kind::Response(list.encode_to_vec().into()));
        }
        Ok(record)
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

//! Ending a gather from outside: cancelled, and deleted.

use super::LOOKS;
use crate::lookup::{Found, Lookup, unreachable};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use queuebridge_proto::JobId;
use queuebridge_proto::gather::total;
use queuebridge_proto::v1::{GatherPlan, State};
use queuebridge_store::gather::{Cause, branch_ids};
use queuebridge_store::record::is_terminal;
use queuebridge_store::{Cancelled, Record};
use std::future::ready;
use tonic::Status;

impl Lookup {
    pub(crate) async fn cancel_gather(&self, id: &JobId) -> Result<(), Status> {
        match self.decide(id, Cause::Cancelled, self.clock.now()).await? {
            Some(verdict) => self.cancel_branches(id, &verdict).await,
            None => Ok(()),
        }
    }

    /// What follows from the verdict of a cancelled gather. Until it has succeeded once
    /// the cancellation is not acknowledged. Every try counts for all that it may write.
    pub(crate) async fn cancel_branches(&self, id: &JobId, verdict: &Record) -> Result<(), Status> {
        let report = verdict.outcome.as_ref().and_then(|outcome| outcome.gather.as_deref());
        let known = match report.and_then(|report| report.plan.clone()) {
            Some(plan) => Some(plan),
            None => {
                let plan = self.gathers.gathers.plan(id, self.clock.now()).await;
                plan.map_err(|e| unreachable(&e))?
            }
        };
        if let Some(plan) = known {
            let branches = report.map_or(&[][..], |report| &report.branches);
            let ended = branches.iter().filter(|branch| is_terminal(branch.state())).count();
            self.quotas.have_written(&plan.tenant.as_str().into(), records(&plan, ended));
        }
        let rest = self.gathers.cancel_rest(id, verdict, self.clock.now());
        rest.await.map_err(|e| unreachable(&e))
    }

    /// Forgets the answers of the branches, and cancels those that have none yet. Whether
    /// none of them needs the request any more.
    pub(crate) async fn delete_branches(
        &self,
        id: &JobId,
        tenant: &str,
        verdict: &Record,
    ) -> Result<bool, Status> {
        let report = verdict.outcome.as_ref().and_then(|outcome| outcome.gather.as_ref());
        let Some(plan) = report.and_then(|report| report.plan.as_ref()) else { return Ok(false) };
        self.quotas.have_written(&tenant.into(), records(plan, 0));
        let forget = |branch: JobId| self.delete_branch(id.at_least_once(), tenant, branch);
        let all = stream::iter(branch_ids(id, plan)).map(forget).buffer_unordered(LOOKS);
        all.try_fold(true, |all, spent| ready(Ok(all && spent))).await
    }

    /// Whether the branch needs its request no more: one that has failed is parked, and may
    /// be replayed.
    async fn delete_branch(
        &self,
        unclaimed: bool,
        tenant: &str,
        branch: JobId,
    ) -> Result<bool, Status> {
        let now = self.clock.now();
        let mut found = Box::pin(self.find(&branch)).await?;
        if matches!(found, Found::Pending | Found::Underway(_)) && !unclaimed {
            match self.store.cancel(&branch, now).await.map_err(|e| unreachable(&e))? {
                Cancelled::BeforeStart => return Ok(true),
                Cancelled::Requested => return Ok(false),
                // Meanwhile: what it has come to is forgotten as well.
                Cancelled::AlreadyFinished => found = Box::pin(self.find(&branch)).await?,
            }
        }
        let over = |state| matches!(state, State::Succeeded | State::Cancelled);
        match found {
            Found::Finished(record) => {
                // In case it has one of its own, as the jobs of a group have.
                let own = record.state == State::Succeeded;
                self.delete_payloads(&branch, tenant, &record, own).await?;
                let deleted = self.store.delete(&branch, now).await;
                deleted.map_err(|e| unreachable(&e))?;
                Ok(over(record.state))
            }
            Found::Purged => Ok(over(self.now(&branch).await?.state)),
            Found::Pending | Found::Underway(_) | Found::Gathering(_) => Ok(false),
        }
    }
}

/// How many branches there are without those that have ended.
fn records(plan: &GatherPlan, ended: usize) -> usize {
    usize::try_from(total(plan)).unwrap_or(usize::MAX).saturating_sub(ended)
}

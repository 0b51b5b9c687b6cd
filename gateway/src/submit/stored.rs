//! What gateways have written into the stores and read again. It counts as theirs only by
//! its MAC: who can write the table could otherwise have a caller shown, or told of, the
//! jobs of somebody else.

use super::{FrontDoor, unreachable};
use crate::identity::Identity;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::v1::GatherPlan;
use queuebridge_proto::{JobId, stored};
use queuebridge_store::{Accepted, NewSubmission, Owner, RequestKey};
use tonic::{Code, Status};

/// The mark of no subject.
const NOBODY: Owner = [0; 16];

impl FrontDoor {
    /// Records a submission, unless an earlier one has its key.
    pub(crate) async fn record(
        &self,
        caller: &Identity,
        key: &RequestKey,
        job: &JobId,
        digest: &[u8; 32],
    ) -> Result<Accepted, Status> {
        let owner = &caller.owner();
        let mac = &stored::Submission { key, job, digest, owner }.mac(&self.job_id_keys);
        let new = NewSubmission { job, digest, owner, mac };
        let accepted = self.submissions.accept(key, new, self.clock.now()).await;
        self.authentic(caller, key, accepted.map_err(unreachable)?)
    }

    /// What [`FrontDoor::record`] would find under a key.
    pub(crate) async fn recorded(
        &self,
        caller: &Identity,
        key: &RequestKey,
    ) -> Result<Option<Accepted>, Status> {
        let found = self.submissions.find(key, self.clock.now()).await.map_err(unreachable)?;
        found.map(|found| self.authentic(caller, key, found)).transpose()
    }

    /// Only jobs of the caller's tenant. What has no right MAC, because it was altered or an
    /// earlier version has written it, is nobody's own, and its MAC is left out.
    fn authentic(
        &self,
        caller: &Identity,
        key: &RequestKey,
        accepted: Accepted,
    ) -> Result<Accepted, Status> {
        let Accepted::Existing { job, digest, owner, published, mac } = accepted else {
            return Ok(Accepted::New);
        };
        if JobId::verify(&job.to_string(), &caller.tenant, &self.job_id_keys).is_err() {
            tracing::error!(%job, tenant = %caller.tenant, "a stored request id leads to a foreign job");
            return Err(not_authentic("request id"));
        }
        let is_ours = owner.is_some_and(|owner| {
            let stored = stored::Submission { key, job: &job, digest: &digest, owner: &owner };
            stored.is_authentic(&mac, &self.job_id_keys)
        });
        if is_ours {
            return Ok(Accepted::Existing { job, digest, owner, published, mac });
        }
        tracing::warn!(%job, "a stored request id has no right MAC: it is taken as nobody's");
        let owner = owner.map(|_| NOBODY);
        Ok(Accepted::Existing { job, digest, owner, published, mac: Vec::new() })
    }

    /// Writes a plan down before anything of it is sent, unless an earlier try has; the one
    /// that stands.
    pub(crate) async fn open_plan(
        &self,
        id: &JobId,
        plan: GatherPlan,
    ) -> Result<GatherPlan, Status> {
        let plan = stored::signed_plan(id, plan, &self.job_id_keys);
        let opened = self.gathers.gathers.open(id, &plan, self.clock.now()).await;
        self.authentic_plan(id, opened.map_err(unreachable)?)
    }

    /// The plan of a gather, if it has one.
    pub(crate) async fn plan_of(&self, id: &JobId) -> Result<Option<GatherPlan>, Status> {
        let plan = self.gathers.gathers.plan(id, self.clock.now()).await.map_err(unreachable)?;
        plan.map(|plan| self.authentic_plan(id, plan)).transpose()
    }

    fn authentic_plan(&self, id: &JobId, plan: GatherPlan) -> Result<GatherPlan, Status> {
        if stored::is_authentic_plan(id, &plan, &self.job_id_keys) {
            return Ok(plan);
        }
        tracing::error!(job = %id, "the plan of a gather has no right MAC");
        Err(not_authentic("plan"))
    }
}

/// What is stored counts for nothing.
pub(crate) fn not_authentic(what: &str) -> Status {
    let message =
        format!("what is stored of the {what} is not what a gateway of this version writes");
    let (code, reason) = (Code::DataLoss, reason::RECORD_NOT_AUTHENTIC);
    error::do_not_retry(error::status(code, reason, message))
}

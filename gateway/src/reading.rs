//! The right to see a job. Everything that shows one asks for a [`Reading`], which only the
//! checks of this file make: so the compiler finds whoever would show a job without one.

use crate::auth::Verb;
use crate::group::Members;
use crate::identity::Identity;
use crate::submit::Ticket;
use crate::view;
use queuebridge_proto::JobId;
use queuebridge_proto::v1::Gather;
use std::sync::Arc;
use tonic::Status;

/// One caller's reading of one job.
#[derive(Clone, Debug)]
pub struct Reading {
    id: JobId,
    tenant: Arc<str>,
    right: Right,
}

#[derive(Clone, Debug)]
enum Right {
    /// The caller has submitted the job, and its branches with it.
    Own,
    /// By a grant of this verb on the job's method.
    Granted(Identity, Verb),
}

impl Reading {
    /// By a grant: of `read`, or of `watch` for those who follow. The id was verified to be
    /// one of the caller's tenant.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`/`NOT_GRANTED`.
    pub fn granted(caller: &Identity, verb: Verb, id: &JobId) -> Result<Self, Status> {
        caller.may_with(verb, id)?;
        let right = Right::Granted(caller.clone(), verb);
        Ok(Self { id: *id, tenant: caller.tenant.clone(), right })
    }

    /// Of a job that this call has submitted. One that an earlier call has submitted is
    /// the caller's as well if that was the same subject, and needs `read` if not.
    ///
    /// # Errors
    /// As [`Reading::granted`].
    pub(crate) fn submitted(caller: &Identity, ticket: &Ticket) -> Result<Self, Status> {
        Self::of_owner(caller, &ticket.id, ticket.own)
    }

    /// Of the group that the jobs of this call have joined.
    ///
    /// # Errors
    /// As [`Reading::granted`].
    pub(crate) fn joined(caller: &Identity, group: &Members) -> Result<Self, Status> {
        Self::of_owner(caller, &group.id, group.belongs_to(caller))
    }

    fn of_owner(caller: &Identity, id: &JobId, own: bool) -> Result<Self, Status> {
        if own {
            return Ok(Self { id: *id, tenant: caller.tenant.clone(), right: Right::Own });
        }
        Self::granted(caller, Verb::Read, id)
    }

    /// The job.
    #[must_use]
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// Whose quota the reading counts for.
    pub(crate) fn tenant(&self) -> &Arc<str> {
        &self.tenant
    }

    /// Whether what is known of the job may be shown of this one of its branches, which may
    /// be of another method.
    pub(crate) fn reaches(&self, branch: &JobId) -> bool {
        match &self.right {
            Right::Own => true,
            Right::Granted(caller, verb) => caller.may_with(*verb, branch).is_ok(),
        }
    }

    /// Leaves of the branches that are not reached only how they stand. `ids` are those of
    /// the list, in its order.
    pub(crate) fn withhold(&self, gather: &mut Gather, ids: Vec<JobId>) {
        for (branch, id) in gather.branches.iter_mut().zip(ids) {
            if let Some(job) = branch.job.as_mut().filter(|_| !self.reaches(&id)) {
                view::withhold(job);
            }
        }
    }
}

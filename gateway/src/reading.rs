//! The right to see a job, and the room to show it in. Everything that shows a job asks for
//! a [`Reading`], which only the checks of this file make: so the compiler finds whoever
//! would show a job without one.

mod list;

pub(crate) use list::{Item, List};

use crate::auth::Verb;
use crate::group::Members;
use crate::identity::Identity;
use crate::leaving::CallRoom;
use crate::submit::Ticket;
use crate::view;
use queuebridge_proto::JobId;
use queuebridge_proto::v1::Gather;
use std::sync::Arc;
use tokio::sync::SemaphorePermit;
use tonic::Status;

/// One call's reading of one job.
#[derive(Clone, Debug)]
pub struct Reading {
    id: JobId,
    tenant: Arc<str>,
    right: Right,
    room: CallRoom,
    /// Where it is one of several items of a reply.
    item: Option<Item>,
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
    pub fn granted(
        caller: &Identity,
        verb: Verb,
        id: &JobId,
        room: CallRoom,
    ) -> Result<Self, Status> {
        caller.may_with(verb, id)?;
        Ok(Self::new(caller, id, Right::Granted(caller.clone(), verb), room))
    }

    /// Of a job that this call has submitted. One that an earlier call has submitted is
    /// the caller's as well if that was the same subject, and needs `read` if not.
    ///
    /// # Errors
    /// As [`Reading::granted`].
    pub(crate) fn submitted(
        caller: &Identity,
        ticket: &Ticket,
        room: CallRoom,
    ) -> Result<Self, Status> {
        Self::of_owner(caller, &ticket.id, ticket.own, room)
    }

    /// Of the group that the jobs of this call have joined.
    ///
    /// # Errors
    /// As [`Reading::granted`].
    pub(crate) fn joined(
        caller: &Identity,
        group: &Members,
        room: CallRoom,
    ) -> Result<Self, Status> {
        Self::of_owner(caller, &group.id, group.belongs_to(caller), room)
    }

    fn of_owner(caller: &Identity, id: &JobId, own: bool, room: CallRoom) -> Result<Self, Status> {
        if own {
            return Ok(Self::new(caller, id, Right::Own, room));
        }
        Self::granted(caller, Verb::Read, id, room)
    }

    fn new(caller: &Identity, id: &JobId, right: Right, room: CallRoom) -> Self {
        Self { id: *id, tenant: caller.tenant.clone(), right, room, item: None }
    }

    /// As one of several items of a reply.
    pub(crate) fn within(self, item: &Item) -> Self {
        Self { item: Some(item.clone()), ..self }
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

    /// The room of its call.
    pub(crate) fn room(&self) -> &CallRoom {
        &self.room
    }

    pub(crate) fn is_item(&self) -> bool {
        self.item.is_some()
    }

    /// A turn to look the job up: the items of a reply are not all loaded at once.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.item.as_ref()?.look().await
    }

    /// Room for `bytes` that are shown, which take `loading` on the way there, if there is
    /// any at once. Of those who follow a job every reply is one of its own.
    pub(crate) fn has_room(&self, bytes: usize, loading: usize) -> bool {
        match &self.item {
            Some(item) => item.take(bytes) && self.room.try_take(loading),
            None => self.room.try_next(loading),
        }
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

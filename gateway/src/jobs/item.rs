//! The submissions of a batch or a stream.

use super::{JobsService, trace_of};
use crate::admission::Place as Admitted;
use crate::group::Members;
use crate::identity::Identity;
use crate::leaving::CallRoom;
use crate::reading::{Item, List, Reading};
use crate::view;
use prost::Message;
use queuebridge_proto::outcome::to_rpc_status;
use queuebridge_proto::v1::submit_result::Result as ItemResult;
use queuebridge_proto::v1::{Job, SubmitRequest, SubmitResult, TraceContext};
use std::time::Duration;
use tonic::{Request, Status};

/// What becomes of a submission for which the tenant's quota is used up.
#[derive(Clone, Copy)]
pub(super) enum Pace {
    /// In a batch: whoever has sent it hears which of them to send again.
    Refused,
    /// In a stream.
    Slowed,
}

/// What all submissions of one call have in common. Cheap to clone.
#[derive(Clone)]
pub(super) struct Items {
    pub(super) service: JobsService,
    pub(super) caller: Identity,
    trace: Option<TraceContext>,
    room: CallRoom,
    /// What they may show of jobs that stand already.
    list: List,
}

impl JobsService {
    pub(super) fn items<T>(&self, request: &Request<T>) -> Result<Items, Status> {
        Ok(Items {
            service: self.clone(),
            caller: Identity::of(request)?,
            trace: trace_of(request.metadata()),
            room: CallRoom::of(request),
            list: List::new(self.0.lookup.max_response_bytes / 2),
        })
    }
}

impl Items {
    /// A place for a submission, when its tenant may submit and there is room.
    pub(super) async fn admit(
        &self,
        pace: Pace,
        request: &SubmitRequest,
    ) -> Result<Admitted, Status> {
        let door = &self.service.0.door;
        match pace {
            Pace::Refused => door.quotas.submit(&self.caller.tenant)?,
            Pace::Slowed => door.quotas.wait(&self.caller.tenant).await,
        }
        door.admission.wait(request.encoded_len()).await
    }

    /// Submits it, if it was admitted. The item is to be dropped when its result is handed
    /// on.
    pub(super) async fn submit(
        &self,
        index: u64,
        admitted: Result<Admitted, Status>,
        request: SubmitRequest,
        group: Option<&Members>,
    ) -> (SubmitResult, Item) {
        let item = self.list.item();
        let result = match admitted {
            Ok(admitted) => self.try_submit(index, &item, admitted, request, group).await,
            Err(status) => Err(status),
        };
        let result = match result {
            Ok(job) => ItemResult::Job(job),
            Err(status) => ItemResult::Error(to_rpc_status(&status)),
        };
        (SubmitResult { index, result: Some(result) }, item)
    }

    async fn try_submit(
        &self,
        index: u64,
        item: &Item,
        admitted: Admitted,
        request: SubmitRequest,
        group: Option<&Members>,
    ) -> Result<Job, Status> {
        let Self { service, caller, .. } = self;
        let (door, trace) = (&service.0.door, self.trace.clone());
        if let Some(group) = group {
            let position = u32::try_from(index).unwrap_or(u32::MAX);
            let ticket = door.accept_member(caller, group, position, request, trace).await?;
            service.0.lookup.methods.learn(&ticket.method);
            return Ok(view::accepted(&ticket.id, ticket.method));
        }
        let prepared = door.prepare(caller, request)?;
        let ticket = service.accept(caller, prepared, trace, admitted).await?;
        let reading = Reading::submitted(caller, &ticket, self.room.clone());
        let reading = reading.map(|reading| reading.within(item));
        service.job_of(reading, ticket, None, Duration::ZERO).await
    }

    /// A group after its jobs were sent: they are, whether it can be looked up or not.
    /// Whoever may add to it, and not see it, sees that it was accepted.
    pub(super) async fn group(&self, group: &Members) -> Job {
        let accepted = || view::accepted(&group.id, group.plan.method.clone());
        match Reading::joined(&self.caller, group, self.room.clone()) {
            Ok(reading) => {
                let job = self.service.0.lookup.job(&reading).await;
                job.unwrap_or_else(|_| accepted())
            }
            Err(_) => accepted(),
        }
    }
}

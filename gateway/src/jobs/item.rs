//! One of the submissions of a batch or a stream.

use super::JobsService;
use crate::admission::Place as Admitted;
use crate::group::Members;
use crate::identity::Identity;
use crate::reading::Reading;
use crate::view;
use prost::Message;
use queuebridge_proto::outcome::to_rpc_status;
use queuebridge_proto::v1::submit_result::Result as ItemResult;
use queuebridge_proto::v1::{Job, SubmitRequest, SubmitResult, TraceContext};
use std::time::Duration;
use tonic::Status;

/// What becomes of a submission for which the tenant's quota is used up.
#[derive(Clone, Copy)]
pub(super) enum Pace {
    /// In a batch: whoever has sent it hears which of them to send again.
    Refused,
    /// In a stream.
    Slowed,
}

impl JobsService {
    /// A place for a submission, when its tenant may submit and there is room.
    pub(super) async fn admit(
        &self,
        pace: Pace,
        caller: &Identity,
        request: &SubmitRequest,
    ) -> Result<Admitted, Status> {
        match pace {
            Pace::Refused => self.0.door.quotas.submit(&caller.tenant)?,
            Pace::Slowed => self.0.door.quotas.wait(&caller.tenant).await,
        }
        self.0.door.admission.wait(request.encoded_len()).await
    }

    /// Submits it, if it was admitted.
    pub(super) async fn item(
        &self,
        index: u64,
        admitted: Result<Admitted, Status>,
        caller: &Identity,
        request: SubmitRequest,
        trace: Option<TraceContext>,
        group: Option<&Members>,
    ) -> SubmitResult {
        let result = async {
            let admitted = admitted?;
            if let Some(group) = group {
                let position = u32::try_from(index).unwrap_or(u32::MAX);
                let ticket = self.0.door.accept_member(caller, group, position, request, trace);
                let ticket = ticket.await?;
                self.0.lookup.methods.learn(&ticket.method);
                return Ok(view::accepted(&ticket.id, ticket.method));
            }
            let prepared = self.0.door.prepare(caller, request)?;
            let ticket = self.accept(caller, prepared, trace, admitted).await?;
            self.job_of(caller, ticket, None, Duration::ZERO).await
        };
        let result = match result.await {
            Ok(job) => ItemResult::Job(job),
            Err(status) => ItemResult::Error(to_rpc_status(&status)),
        };
        SubmitResult { index, result: Some(result) }
    }

    /// A group after its jobs were sent: they are, whether it can be looked up or not.
    /// Whoever may add to it, and not see it, sees that it was accepted.
    pub(super) async fn job_of_group(&self, caller: &Identity, group: &Members) -> Job {
        let accepted = || view::accepted(&group.id, group.plan.method.clone());
        match Reading::joined(caller, group) {
            Ok(reading) => self.0.lookup.job(&reading).await.unwrap_or_else(|_| accepted()),
            Err(_) => accepted(),
        }
    }
}

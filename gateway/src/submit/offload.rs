//! Requests that no message can, or should, carry: they go to the payload store.

use super::{FrontDoor, unavailable};
use crate::identity::Identity;
use crate::message;
use crate::publish::PublishError;
use crate::publish::batcher::Batcher;
use crate::scatter;
use crate::submission::{Submission, too_large};
use queuebridge_proto::JobId;
use queuebridge_proto::v1::call::Payload;
use queuebridge_proto::v1::{Call, PayloadRef};
use queuebridge_store::{PayloadError, PayloadStore, payload};
use tonic::Status;

/// The least that a queue's messages may hold, in bytes: no queue refuses less for its size.
const ALWAYS_TAKEN: usize = 1024;
/// The most that a reference to a stored request takes in a message, in bytes.
const REFERENCE: usize = 256;

/// The submission that a message is sent for.
pub(crate) struct Origin<'a> {
    /// Who has submitted it.
    pub(crate) caller: &'a Identity,
    /// Its id: that of the gather, where it goes to branches.
    pub(crate) id: &'a JobId,
    /// The submission itself.
    pub(crate) job: &'a Submission,
}

impl FrontDoor {
    /// Puts the request of a call into the payload store, so that the message keeps to
    /// `limit` bytes.
    pub(super) async fn offload(
        &self,
        caller: &Identity,
        id: &JobId,
        job: &Submission,
        call: &mut Call,
        limit: usize,
    ) -> Result<(), Status> {
        let Some(payloads) = &self.payloads else {
            return Err(too_large("request", "larger than its queue's messages may be"));
        };
        call.payload = None;
        if message::size_of(call) + self.seal.overhead() + REFERENCE > limit {
            return Err(too_large("metadata", "larger than its queue's messages may be"));
        }
        let stored = store(payloads.as_ref(), caller, id, job).await.map_err(|error| {
            tracing::warn!(job = %id, %error, "could not store a request");
            unavailable("the payload store cannot be reached")
        })?;
        call.payload = Some(Payload::RequestRef(stored));
        Ok(())
    }

    /// Seals a call as the job `id` and publishes it to a queue or topic. If that turns
    /// out to take less than was known, the request goes to the payload store and the
    /// message is sent once more.
    ///
    /// # Errors
    /// When the message was not taken for certain.
    pub(crate) async fn send_call(
        &self,
        origin: &Origin<'_>,
        to: Option<&Batcher>,
        id: &JobId,
        call: Call,
    ) -> Result<(), PublishError> {
        let leads_nowhere = || PublishError::Refused("the route leads nowhere".to_owned());
        let to = to.ok_or_else(leads_nowhere)?;
        let delay = scatter::queue_delay(origin.job);
        let inline = matches!(call.payload, Some(Payload::Request(_)));
        let payloads = self.payloads.as_ref().filter(|_| inline);
        // A copy costs something, and most messages are small.
        let spare =
            payloads.filter(|_| message::size_of(&call) + self.seal.overhead() > ALWAYS_TAKEN);
        let spare = spare.map(|payloads| (payloads, call.clone()));
        let message = message::of(call, id, delay, to.limits(), &self.seal).await?;
        match (to.publish(message).await, spare) {
            (Err(PublishError::TooLarge(why)), Some((payloads, call))) => {
                tracing::warn!(job = %id, why, "a request goes to the payload store instead");
                let stored = store(payloads.as_ref(), origin.caller, origin.id, origin.job).await;
                let failed = |error: PayloadError| PublishError::Retryable(error.to_string());
                let payload = Some(Payload::RequestRef(stored.map_err(failed)?));
                let call = Call { payload, ..call };
                let message = message::of(call, id, delay, to.limits(), &self.seal).await?;
                to.publish(message).await
            }
            (answer, _) => answer,
        }
    }
}

async fn store(
    payloads: &dyn PayloadStore,
    caller: &Identity,
    id: &JobId,
    job: &Submission,
) -> Result<PayloadRef, PayloadError> {
    let key = payload::request_key(&caller.tenant, id, &job.request_sha256());
    payloads.put(&key, job.request.clone()).await
}

//! Parking: messages that failed for good wait for a person in a queue of their
//! own. The copy is sent before anything else is settled, so that it can be
//! there twice, but never not at all.

use crate::delivery::Delivery;
use crate::host::pointers::PointerError;
use crate::job::Job;
use crate::offload;
use crate::outbox::{OutboxError, Outgoing};
use crate::runner::{Role, Runner, random};
use crate::telemetry::Observation;
use crate::verdict::{Reason, Verdict, backoff};
use queuebridge_proto::EnvelopeError;
use queuebridge_proto::envelope::{self, attribute};
use queuebridge_store::encryption::{KeyError, OpenError};
use std::time::Duration;

/// Why a message was parked, as the attribute `qb-parked` says it.
pub(crate) mod reason {
    /// The handler failed as often as its route allows.
    pub(crate) const ATTEMPTS_EXHAUSTED: &str = "ATTEMPTS_EXHAUSTED";
    /// It came to the dead letter queue, and its job was finished there.
    pub(crate) const DEAD_LETTERED: &str = "DEAD_LETTERED";
    /// The worker was lost, and the lease policy is `fail`.
    pub(crate) const WORKER_LOST: &str = "WORKER_LOST";
    /// The worker was lost, and the lease policy is `hold`.
    pub(crate) const LEASE_LAPSED: &str = "LEASE_LAPSED";
    /// A person sent it back although its job is finished.
    pub(crate) const FINISHED: &str = "FINISHED";
    /// A callback was tried in vain for the last time.
    pub(crate) const CALLBACK_FAILED: &str = "CALLBACK_FAILED";
    /// The receiver of a callback wants no more.
    pub(crate) const CALLBACK_GONE: &str = "CALLBACK_GONE";
    /// The receiver of a callback must not be called.
    pub(crate) const CALLBACK_REFUSED: &str = "CALLBACK_REFUSED";
    /// The message points to a bucket that may not be read.
    pub(crate) const POINTER_REFUSED: &str = "POINTER_REFUSED";
    /// What the message points to is not there.
    pub(crate) const PAYLOAD_LOST: &str = "PAYLOAD_LOST";
    /// The body is not an envelope.
    pub(crate) const UNDECODABLE: &str = "UNDECODABLE";
    /// The envelope is not ours.
    pub(crate) const NOT_AUTHENTIC: &str = "NOT_AUTHENTIC";
    /// The envelope can be read by everybody, where that is not wanted.
    pub(crate) const NOT_ENCRYPTED: &str = "NOT_ENCRYPTED";
    /// The key that its data key is under is disabled, deleted or not ours.
    pub(crate) const KEY_UNAVAILABLE: &str = "KEY_UNAVAILABLE";
    /// No worker here is new enough to open it, or has its key.
    pub(crate) const UNKNOWN_VERSION: &str = "UNKNOWN_VERSION";
}

/// Between two receives of a message that cannot be opened: long enough to cost
/// little, short enough that it is dead-lettered within the hour.
const UNOPENED_BACKOFF: Duration = Duration::from_secs(10);
/// Between the first two receives of a message whose key cannot be asked; it doubles: with
/// 100 receives until it is dead-lettered that lasts for two hours at least.
const KEY_BACKOFF: Duration = Duration::from_secs(2);
const KEY_BACKOFF_MAX: Duration = Duration::from_secs(150);
/// Between two tries to reach the parking queue.
const PARKING_BACKOFF: Duration = Duration::from_secs(10);
/// Between two looks at a job that is held, where nothing can be parked.
const HELD_BACKOFF: Duration = Duration::from_secs(300);

/// The attributes of a job's message.
pub(crate) fn routing(method: &str, job_id: &str) -> Vec<(&'static str, String)> {
    vec![
        (attribute::VERSION, envelope::MAJOR.to_string()),
        (attribute::METHOD, method.to_owned()),
        (attribute::JOB, job_id.to_owned()),
    ]
}

/// Copies the message of a job to the parking queue. `Ok(false)`: there is none.
pub(crate) async fn copy(job: &Job<'_>, reason: &'static str) -> Result<bool, Verdict> {
    let attributes = routing(job.method.as_str(), &job.call.job_id);
    let own;
    let delivery = if job.shares_message {
        // What other branches have received as well does not say which of them failed.
        let body = job.runner.seal.seal(&job.call).await.map_err(|error| no_key(&error))?.into();
        own = Delivery { body, pointer: None, ..job.delivery.clone() };
        &own
    } else {
        job.delivery
    };
    let tenant = &job.call.tenant;
    let sent = match send(job.runner, delivery, attributes.clone(), tenant, reason).await {
        Err(OutboxError::TooLarge(why)) => match offload::lighter(job).await {
            Some(body) => {
                let own = Delivery { body, pointer: None, ..job.delivery.clone() };
                send(job.runner, &own, attributes, tenant, reason).await
            }
            None => Err(OutboxError::TooLarge(why)),
        },
        sent => sent,
    };
    let sent = sent.map_err(|error| unparked(reason, &error))?;
    if sent {
        job.seen.parked(reason);
    }
    Ok(sent)
}

/// What cannot be encrypted is not sent: the message that is there stays.
fn no_key(error: &KeyError) -> Verdict {
    tracing::error!(%error, "a message could not be encrypted");
    Verdict::redeliver(PARKING_BACKOFF, Reason::KeyUnavailable)
}

/// Parks the message of a job that nobody may run again and nobody finishes.
pub(crate) async fn held(job: &Job<'_>) -> Verdict {
    match copy(job, reason::LEASE_LAPSED).await {
        Ok(true) => Verdict::Ack,
        Ok(false) => Verdict::redeliver(HELD_BACKOFF, Reason::Held),
        Err(verdict) => verdict,
    }
}

/// Parks again what a person has sent back in vain.
pub(crate) async fn again(job: &Job<'_>) -> Verdict {
    copy(job, reason::FINISHED).await.map_or_else(|verdict| verdict, |_| Verdict::Ack)
}

/// Parks what cannot be opened, unless another worker may be able to.
pub(crate) async fn unopened(
    runner: &Runner,
    delivery: &Delivery,
    seen: &Observation,
    error: OpenError,
) -> Verdict {
    tracing::error!(%error, receives = delivery.receive_count, "a message was not opened");
    let wait = match &error {
        OpenError::Envelope(error) => (*error).into(),
        OpenError::Key(_) => Reason::KeyUnavailable,
    };
    if error.is_of_the_moment() || error.may_be_newer() && runner.settings.role == Role::Jobs {
        let after = match &error {
            // Such an outage may last: it is not to use the queue's receives up.
            OpenError::Key(_) => {
                backoff(delivery.receive_count, KEY_BACKOFF, KEY_BACKOFF_MAX, random())
            }
            OpenError::Envelope(_) => UNOPENED_BACKOFF,
        };
        return Verdict::redeliver(after, wait);
    }
    let reason = match error {
        OpenError::Key(_) => reason::KEY_UNAVAILABLE,
        OpenError::Envelope(error) => name(error),
    };
    match send(runner, delivery, Vec::new(), "", reason).await {
        Ok(true) => {
            seen.parked(reason);
            Verdict::Ack
        }
        Ok(false) => Verdict::redeliver(UNOPENED_BACKOFF, wait),
        Err(error) => unparked(reason, &error),
    }
}

fn name(error: EnvelopeError) -> &'static str {
    match error {
        EnvelopeError::Undecodable => reason::UNDECODABLE,
        EnvelopeError::Unauthentic => reason::NOT_AUTHENTIC,
        EnvelopeError::NotEncrypted => reason::NOT_ENCRYPTED,
        _ => reason::UNKNOWN_VERSION,
    }
}

/// Parks a message that points to a body which cannot be had, unless it may be had
/// later.
pub(crate) async fn pointing_nowhere(
    runner: &Runner,
    delivery: &Delivery,
    seen: &Observation,
    error: PointerError,
) -> Verdict {
    tracing::error!(%error, id = delivery.message_id, "a message's body could not be fetched");
    let reason = match error {
        PointerError::Unavailable(_) => {
            return Verdict::redeliver(UNOPENED_BACKOFF, Reason::StoreUnavailable);
        }
        PointerError::Refused(_) => reason::POINTER_REFUSED,
        PointerError::Lost(_) => reason::PAYLOAD_LOST,
    };
    match send(runner, delivery, Vec::new(), "", reason).await {
        Ok(true) => {
            seen.parked(reason);
            Verdict::Ack
        }
        Ok(false) => Verdict::redeliver(UNOPENED_BACKOFF, EnvelopeError::Undecodable.into()),
        Err(error) => unparked(reason, &error),
    }
}

async fn send(
    runner: &Runner,
    delivery: &Delivery,
    mut attributes: Vec<(&'static str, String)>,
    tenant: &str,
    reason: &'static str,
) -> Result<bool, OutboxError> {
    if !runner.outbox.parks() {
        return Ok(false);
    }
    attributes.push((attribute::PARKED, reason.to_owned()));
    let message = Outgoing {
        body: delivery.pointer.as_ref().unwrap_or(&delivery.body).clone(),
        attributes,
        group_id: tenant.to_owned(),
        trace_header: delivery.trace_header.clone(),
    };
    runner.outbox.park(message).await?;
    tracing::warn!(reason, id = delivery.message_id, "a message was parked");
    Ok(true)
}

fn unparked(reason: &'static str, error: &OutboxError) -> Verdict {
    tracing::error!(reason, %error, "a message was not parked");
    Verdict::redeliver(PARKING_BACKOFF, Reason::ParkingUnavailable)
}

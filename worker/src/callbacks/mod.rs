//! Making the callbacks of finished jobs: the work of the callback queue.
//!
//! A message says whom to tell of which job, and what was tried already. What is to be
//! tried again later is sent again with a delay, in hops of what the queue allows, and
//! then acknowledged; what was tried in vain for the last time is parked. So nothing
//! but the queue remembers anything, and a sender may die at any moment.

mod event;
mod guard;
mod http;
mod schedule;
mod sender;
mod signature;
mod tenants;
mod timer;

pub use guard::Networks;
pub use sender::{Sender, SenderSettings};
pub use signature::{SigningKeys, SigningKeysError};
pub use tenants::{SenderKeys, TenantKeysError};

use crate::delivery::Delivery;
use crate::outbox::{MAX_DELAY, Outgoing};
use crate::park;
use crate::runner::{Runner, random};
use crate::telemetry::Observation;
use crate::verdict::{Reason, Verdict};
use event::Event;
use queuebridge_proto::envelope::attribute;
use queuebridge_proto::v1::CallbackMessage;
use queuebridge_proto::v1::callback_message::Kind;
use queuebridge_proto::{EnvelopeError, JobId, UnixMillis};
use sender::Sent;
use std::time::Duration;

/// Between two tries to reach a store or a queue.
const BACKOFF: Duration = Duration::from_secs(10);

/// One message of the callback queue.
pub(crate) struct Work<'a> {
    runner: &'a Runner,
    delivery: &'a Delivery,
    seen: &'a Observation,
    message: CallbackMessage,
    id: JobId,
}

/// Does what a message of the callback queue asks for.
pub(crate) async fn run(runner: &Runner, delivery: &Delivery, seen: &Observation) -> Verdict {
    let opened = runner.seal.open::<CallbackMessage>(&delivery.body).await;
    let opened = opened.and_then(|message| {
        let id = JobId::parse_trusted(&message.job_id).map_err(|_| EnvelopeError::Undecodable)?;
        Ok((message, id))
    });
    let (message, id) = match opened {
        Ok(opened) => opened,
        Err(error) => return park::unopened(runner, delivery, seen, error).await,
    };
    let work = Work { runner, delivery, seen, message, id };
    let not_before = work.message.not_before.as_ref().and_then(UnixMillis::from_proto);
    // Delays are in whole seconds, so that a message may come a little early.
    if let Some(until) = not_before.filter(|until| *until > work.now().plus(Duration::from_secs(1)))
    {
        return work.again(work.message.clone(), until).await;
    }
    match work.message.kind() {
        Kind::Timer => timer::run(&work).await,
        Kind::Deliver | Kind::Unspecified => work.deliver().await,
    }
}

impl Work<'_> {
    fn now(&self) -> UnixMillis {
        self.runner.clock.now()
    }

    /// Tells whoever is to be told that the job is finished.
    async fn deliver(&self) -> Verdict {
        let Some(sender) = &self.runner.settings.callbacks else {
            tracing::error!("this worker makes no callbacks: its role is another");
            return Verdict::redeliver(BACKOFF, Reason::CallbackUnavailable);
        };
        let record = match self.runner.store.get(&self.id, self.now()).await {
            Ok(Some(record)) if record.is_terminal() => record,
            Ok(_) => {
                // Callbacks are enqueued after the job is stored: somebody has emptied
                // the table.
                tracing::error!(job = %self.id, "a callback's job is not finished");
                return self.park(park::reason::CALLBACK_FAILED).await;
            }
            Err(error) => {
                tracing::warn!(job = %self.id, %error, "a callback's job could not be looked up");
                return Verdict::redeliver(BACKOFF, Reason::StoreUnavailable);
            }
        };
        let named = self.message.callback.as_ref();
        // What a later copy of the job's message names does not count.
        let callback = match &record.origin {
            Some(origin) if origin.callback.as_ref() != named => {
                tracing::warn!(job = %self.id, "a callback is not the one that the job began with");
                match origin.callback.clone() {
                    Some(callback) => Some(callback),
                    None => return Verdict::Ack,
                }
            }
            _ => named.cloned(),
        };
        let (method, tenant) = (&self.message.method, &self.message.tenant);
        let event = Event::new(&self.id, method, tenant, record);
        let target = callback.as_ref().and_then(|callback| callback.target.as_ref());
        let Some(target) = target else { return self.park(park::reason::CALLBACK_FAILED).await };
        match sender.send(target, &event, self.now()).await {
            Sent::Done => {
                tracing::info!(job = %self.id, tries = self.message.tries + 1, "called back");
                Verdict::Ack
            }
            Sent::Gone => self.park(park::reason::CALLBACK_GONE).await,
            Sent::Refused(why) => {
                tracing::error!(job = %self.id, why, "a callback was refused");
                self.park(park::reason::CALLBACK_REFUSED).await
            }
            Sent::Failed { why, retry_after } => {
                let tries = self.message.tries.saturating_add(1);
                tracing::warn!(job = %self.id, tries, why, "a callback failed");
                match schedule::pause(tries, retry_after, random()) {
                    Some(pause) => {
                        let mut message = self.message.clone();
                        message.set_kind(Kind::Deliver);
                        message.tries = tries;
                        self.again(message, self.now().plus(pause)).await
                    }
                    None => self.park(park::reason::CALLBACK_FAILED).await,
                }
            }
        }
    }

    /// Sends a message that is to be received at `until`, or on the way there, and
    /// gives this one up.
    async fn again(&self, mut message: CallbackMessage, until: UnixMillis) -> Verdict {
        let wait = self.now().until(until);
        message.not_before = Some(until.to_proto());
        let outgoing = match self.outgoing(&message).await {
            Ok(outgoing) => outgoing,
            Err(verdict) => return verdict,
        };
        match self.runner.outbox.resend(&self.delivery.source, outgoing, wait.min(MAX_DELAY)).await
        {
            Ok(()) => Verdict::Ack,
            Err(error) => {
                tracing::warn!(job = %self.id, %error, "a callback stays in its message");
                Verdict::redeliver(wait.clamp(BACKOFF, MAX_DELAY), Reason::CallbackUnavailable)
            }
        }
    }

    /// What was tried in vain waits for a person, ready to be tried again.
    async fn park(&self, reason: &'static str) -> Verdict {
        let mut message = self.message.clone();
        message.set_kind(Kind::Deliver);
        (message.tries, message.not_before) = (0, None);
        let mut outgoing = match self.outgoing(&message).await {
            Ok(outgoing) => outgoing,
            Err(verdict) => return verdict,
        };
        outgoing.attributes.push((attribute::PARKED, reason.to_owned()));
        if !self.runner.outbox.parks() {
            tracing::error!(job = %self.id, reason, "there is no parking queue for a callback");
            return Verdict::redeliver(MAX_DELAY, Reason::ParkingUnavailable);
        }
        match self.runner.outbox.park(outgoing).await {
            Ok(()) => {
                tracing::warn!(job = %self.id, reason, "a callback was parked");
                self.seen.parked(reason);
                Verdict::Ack
            }
            Err(error) => {
                tracing::error!(job = %self.id, reason, %error, "a callback was not parked");
                Verdict::redeliver(BACKOFF, Reason::ParkingUnavailable)
            }
        }
    }

    async fn outgoing(&self, message: &CallbackMessage) -> Result<Outgoing, Verdict> {
        let body = self.runner.seal.seal(message).await.map_err(|error| {
            tracing::error!(job = %self.id, %error, "a callback could not be encrypted");
            Verdict::redeliver(BACKOFF, Reason::KeyUnavailable)
        })?;
        Ok(Outgoing {
            body: body.into(),
            attributes: park::routing(&message.method, &message.job_id),
            group_id: message.tenant.clone(),
            trace_header: self.delivery.trace_header.clone(),
        })
    }
}

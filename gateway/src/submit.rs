//! The front door: from a request to a job that its queue has durably taken.

mod digest;
mod names;
mod offload;
mod refusals;
mod stored;

pub(crate) use digest::digest;
use names::plain_digest;
pub(crate) use names::request_key;
pub(crate) use offload::Origin;
pub(crate) use refusals::unreachable;
use refusals::{unavailable, unknown};
pub(crate) use stored::not_authentic;

use crate::admission::Admission;
use crate::callback::{self, Callbacks};
use crate::config::{Guarantee, LeasePolicy};
use crate::identity::Identity;
use crate::publish::PublishError;
use crate::quota::Quotas;
use crate::replies::Replies;
use crate::route::Routes;
use crate::scatter;
use crate::submission::{CallShape, Submission, too_large};
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::time::duration_to_proto;
use queuebridge_proto::v1::call::Payload;
use queuebridge_proto::v1::{
    self, AttemptRules, Call, CallbackMessage, GatherPlan, SubmitRequest, TraceContext,
};
use queuebridge_proto::{JobId, Keyring};
use queuebridge_store::{
    Accepted, Clock, Gathers, PayloadStore, RequestKey, Seal, SubmissionStore,
};
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Status};

/// Accepts submissions.
pub struct FrontDoor {
    /// Which queue takes which methods.
    pub routes: Routes,
    /// Sign and verify job ids.
    pub job_id_keys: Keyring,
    /// Seals envelopes.
    pub seal: Seal,
    /// Remembers idempotent submissions.
    pub submissions: Arc<dyn SubmissionStore>,
    /// Where it is written down which branches a job goes to.
    pub gathers: Gathers,
    /// Where the ends of the jobs are announced.
    pub replies: Arc<Replies>,
    /// Takes requests that no message can carry.
    pub payloads: Option<Arc<dyn PayloadStore>>,
    /// The time.
    pub clock: Clock,
    /// Callbacks, where the deployment makes them.
    pub callbacks: Option<Callbacks>,
    /// How much is in hand.
    pub admission: Admission,
    /// What one tenant may submit.
    pub quotas: Quotas,
}

/// An accepted job.
pub struct Ticket {
    /// Its id.
    pub id: JobId,
    /// Its method.
    pub method: String,
    /// Whether it was, or may have been, accepted before: under the same
    /// `request_id`, or by the submission that its `resubmit_token` is from.
    pub attached: bool,
    /// Whether this submission has made it, or an earlier one of the same subject.
    pub own: bool,
    /// The job that this submission repeats, if it is a replay.
    pub retry_of: Option<JobId>,
    /// The branches to which it was sent, if its route has any.
    pub plan: Option<GatherPlan>,
}

/// A submission that keeps all rules, and the id that it will have unless it
/// attaches to an earlier one.
pub struct Prepared {
    id: JobId,
    job: Submission,
}

impl Prepared {
    pub(crate) fn new(id: JobId, job: Submission) -> Self {
        Self { id, job }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// Whether it has the `resubmit_token` of an earlier submission.
    #[must_use]
    pub fn is_again(&self) -> bool {
        self.job.is_again()
    }

    /// How long its caller waits for the result; zero: not at all.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.job.wait
    }
}

impl FrontDoor {
    /// Checks a submission and gives it an id. Nobody else knows of it yet.
    ///
    /// # Errors
    /// A status that names the field and its rule.
    pub fn prepare(&self, caller: &Identity, request: SubmitRequest) -> Result<Prepared, Status> {
        let now = self.clock.now();
        let job = Submission::check(request, &self.routes, caller, &self.job_id_keys, now)?;
        callback::check_of(&caller.tenant, &job, self.callbacks.as_ref())?;
        let id = self.id_of(caller, &job, now)?;
        Ok(Prepared { id, job })
    }

    /// The same for a direct call.
    ///
    /// # Errors
    /// A status that names the field and its rule.
    pub(crate) fn prepare_call(
        &self,
        caller: &Identity,
        request: SubmitRequest,
        shape: CallShape,
    ) -> Result<Prepared, Status> {
        let now = self.clock.now();
        let mut job = Submission::check(request, &self.routes, caller, &self.job_id_keys, now)?;
        job.shaped(shape, now);
        let id = self.id_of(caller, &job, now)?;
        Ok(Prepared { id, job })
    }

    /// Accepts one job: when this returns `Ok`, its queue has it.
    ///
    /// # Errors
    /// The status for the caller; see the contract of `Jobs.Submit`.
    pub async fn accept(
        &self,
        caller: &Identity,
        prepared: Prepared,
        trace: Option<TraceContext>,
    ) -> Result<Ticket, Status> {
        let Prepared { id, job } = prepared;
        self.has_key().await?;
        match (job.request_id.clone(), job.shape.attach_within) {
            (Some(request_id), _) => self.submit_once(caller, id, job, &request_id, trace).await,
            (None, Some(within)) => self.submit_or_attach(caller, id, job, within, trace).await,
            (None, None) => {
                let attached = job.is_again();
                self.publish(caller, &id, job, trace, attached).await
            }
        }
    }

    /// Before anything is written: what cannot be encrypted is not accepted.
    pub(crate) async fn has_key(&self) -> Result<(), Status> {
        self.seal.ready().await.map_err(|error| {
            tracing::warn!(%error, "a submission could not be encrypted");
            let (code, reason) = (Code::Unavailable, reason::KEY_UNAVAILABLE);
            let message = "there is no key to encrypt the job with; see the gateway's log";
            error::retry_after(code, reason, message, Duration::from_secs(1))
        })
    }

    /// The same `request_id` leads to the same job, whatever was lost on the way
    /// and whichever gateway is asked.
    async fn submit_once(
        &self,
        caller: &Identity,
        id: JobId,
        job: Submission,
        request_id: &str,
        trace: Option<TraceContext>,
    ) -> Result<Ticket, Status> {
        self.check_size(caller, &id, &job, trace.as_ref())?;
        let key = request_key(&caller.tenant, job.method.as_str(), request_id);
        let digest = digest(&job);
        let accepted = self.record(caller, &key, &id, &digest).await?;
        if !digest::is_same(&accepted, &job, &digest) {
            let rule = "was used with another submission of this method";
            let (code, reason) = (Code::AlreadyExists, reason::REQUEST_ID_REUSED);
            return Err(error::refused_field(code, reason, "request_id", rule));
        }
        self.submit_as(caller, &key, (id, accepted), job, trace).await
    }

    /// A refusal must come before the record, which would use the request id up.
    pub(crate) fn check_size(
        &self,
        caller: &Identity,
        id: &JobId,
        job: &Submission,
        trace: Option<&TraceContext>,
    ) -> Result<(), Status> {
        let limit = job.route.limits().message_bytes;
        let size = || self.size_of(&self.call(caller, id, job, trace.cloned()), job);
        if self.payloads.is_none() && size() > limit {
            return Err(too_large("request", "larger than its queue's messages may be"));
        }
        Ok(())
    }

    /// Submits under what stands in the store, or attaches to it.
    pub(crate) async fn submit_as(
        &self,
        caller: &Identity,
        key: &RequestKey,
        (id, accepted): (JobId, Accepted),
        mut job: Submission,
        trace: Option<TraceContext>,
    ) -> Result<Ticket, Status> {
        let (id, attached, own) = match accepted {
            Accepted::New => (id, job.is_again(), true),
            Accepted::Existing { job: known, owner, published, mac, .. } => {
                let own = owner == Some(caller.owner());
                if published {
                    return Ok(Ticket { own, ..ticket(known, &job, true) });
                }
                if mac.is_empty() {
                    // Nobody knows that a gateway has given this submission that id.
                    return Err(unknown(&known, None));
                }
                job.foreign = !own;
                // Whoever accepted it may have died before publishing it.
                (known, true, own)
            }
        };
        let ticket = Ticket { own, ..self.publish(caller, &id, job, trace, attached).await? };
        if let Err(error) = self.submissions.mark_published(key, self.clock.now()).await {
            // Harmless: a repeat publishes once more, and the claim absorbs it.
            tracing::warn!(job = %ticket.id, %error, "could not note that a job is published");
        }
        Ok(ticket)
    }

    pub(crate) async fn publish(
        &self,
        caller: &Identity,
        id: &JobId,
        job: Submission,
        trace: Option<TraceContext>,
        attached: bool,
    ) -> Result<Ticket, Status> {
        let (route, mut ticket) = (job.route.clone(), ticket(*id, &job, attached));
        if job.is_again() && self.clock.now() >= id.expires_at() {
            // Its time is over: no copy of it could run.
            return Ok(ticket);
        }
        let limit = route.limits().message_bytes;
        let mut call = self.call(caller, id, &job, trace);
        let most = route.config.inline_request_bytes.filter(|_| self.payloads.is_some());
        let large = most.is_some_and(|most| job.request.len() > most);
        let many = self.payloads.is_some() && Self::copies(&call, &job) > scatter::MAX_COPIES;
        if large || many || self.size_of(&call, &job) > limit {
            self.offload(caller, id, &job, &mut call, limit).await?;
        }
        // A group has a timer, and its jobs have none.
        let told = job.callback.is_some() && job.member.is_none();
        let timed = told || scatter::has_deadline(&job);
        if let Some(selected) = &job.fan_out {
            let _copies = self.admission.copies(Self::copies(&call, &job))?;
            let plan = self.write_plan(caller, id, &job, selected, &call).await?;
            let unsent = self.scatter(caller, id, &job, call, &plan).await?;
            self.start_timer(caller, id, &job, timed).await?;
            self.settle_unsent(id, &plan, &unsent).await;
            ticket.plan = Some(plan);
            return Ok(ticket);
        }
        let origin = Origin { caller, id, job: &job };
        let sent = self.send_call(&origin, route.batchers.first(), id, call).await;
        sent.map_err(|error| self.refusal(caller, id, &job, &error))?;
        self.start_timer(caller, id, &job, timed).await?;
        Ok(ticket)
    }

    /// The job is queued in any case: without its timer nobody is told so.
    pub(crate) async fn start_timer(
        &self,
        caller: &Identity,
        id: &JobId,
        job: &Submission,
        timed: bool,
    ) -> Result<(), Status> {
        let Some(callbacks) = self.callbacks.as_ref().filter(|_| timed) else { return Ok(()) };
        let told = CallbackMessage {
            method: job.method.to_string(),
            tenant: caller.tenant.to_string(),
            callback: job.callback.clone(),
            reply_shard: self.replies.of(id),
            ..CallbackMessage::default()
        };
        let timer = callbacks.start_timer(id, told, self.clock.now(), &self.seal);
        timer.await.map_err(|error| {
            self.refusal(caller, id, job, &PublishError::Unknown(error.to_string()))
        })
    }

    fn call(
        &self,
        caller: &Identity,
        id: &JobId,
        job: &Submission,
        trace: Option<TraceContext>,
    ) -> Call {
        let config = &job.route.config;
        // What is told of a job of a group is told of the group.
        let (told, membership) = match job.member.as_deref() {
            Some(member) => (&member.gather, Some(Box::new(member.membership.clone()))),
            None => (id, None),
        };
        Call {
            job_id: id.to_string(),
            method: job.method.to_string(),
            tenant: caller.tenant.to_string(),
            payload: Some(Payload::Request(job.request.clone())),
            metadata: job.metadata.clone(),
            attempts: Some(AttemptRules {
                max_attempts: config.max_attempts,
                retry_on: match job.shape.deadline {
                    None => config.retry_on.iter().map(|code| *code as i32).collect(),
                    Some(_) => Vec::new(),
                },
                initial_backoff: Some(duration_to_proto(config.initial_backoff)),
                max_backoff: Some(duration_to_proto(config.max_backoff)),
            }),
            publish_number: 1,
            guarantee: match config.guarantee {
                Guarantee::Claimed => v1::Guarantee::Claimed,
                Guarantee::AtLeastOnce => v1::Guarantee::AtLeastOnce,
            } as i32,
            trace,
            ordering_key: job.ordering_key.clone(),
            lease_policy: match config.lease_policy {
                LeasePolicy::Retry => v1::LeasePolicy::Retry,
                LeasePolicy::Fail => v1::LeasePolicy::Fail,
                LeasePolicy::Hold => v1::LeasePolicy::Hold,
            } as i32,
            reply_shard: self.replies.of(told),
            callback: job.callback.clone(),
            membership,
            retry_of: job.retry_of.map(|id| id.to_string()).unwrap_or_default(),
            not_before: scatter::not_before(job, self.clock.now()),
            request_stream: job.shape.stream,
            request_open: job.shape.open,
            stream_window: job.shape.window,
            caller_deadline: job.shape.by_caller,
        }
    }
}

fn ticket(id: JobId, job: &Submission, attached: bool) -> Ticket {
    Ticket {
        id,
        method: job.method.to_string(),
        attached,
        // Who has begun the group that a job is of, its id does not say.
        own: job.member.is_none(),
        retry_of: job.retry_of,
        plan: None,
    }
}

#[cfg(test)]
mod tests;

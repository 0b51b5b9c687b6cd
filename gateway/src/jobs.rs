//! The `Jobs` service: RPCs to and from the parts that do the work.

mod item;
mod rpcs;
mod stream;
mod time;

pub(crate) use time::{MAX_WAIT, deadline_of};

use crate::admission::Place as Admitted;
use crate::audit;
use crate::auth::Verb;
use crate::gather;
use crate::identity::Identity;
use crate::leaving::CallRoom;
use crate::lookup::{Found, Lookup, bad_id};
use crate::quota;
use crate::reading::Reading;
use crate::submit::{FrontDoor, Prepared, Ticket};
use crate::view;
use crate::waiter::{Place, Waiter};
use queuebridge_proto::v1::{Job, State, SubmitRequest, TraceContext};
use queuebridge_proto::{JobId, Keyring};
use std::sync::Arc;
use std::time::Duration;
use time::cap;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};

/// How often an abandoned job is tried to be cancelled.
const ABANDON_TRIES: u32 = 4;
const ABANDON_BACKOFF: Duration = Duration::from_millis(200);

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct JobsService(Arc<Parts>, TaskTracker);

/// What the service is made of.
pub struct Parts {
    /// The way in.
    pub door: Arc<FrontDoor>,
    /// The way back.
    pub lookup: Arc<Lookup>,
    /// The long way back.
    pub waiter: Waiter,
    /// Verify job ids.
    pub job_id_keys: Keyring,
    /// Fires when the gateway shuts down.
    pub draining: CancellationToken,
    /// Fires when the shutdown is about to end what is still in hand by then.
    pub closing: CancellationToken,
}

impl JobsService {
    /// The service over its parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let background = TaskTracker::new();
        // Closed, so that it can be waited for; it still takes tasks.
        background.close();
        Self(Arc::new(parts), background)
    }

    pub(crate) async fn accept(
        &self,
        caller: &Identity,
        prepared: Prepared,
        trace: Option<TraceContext>,
        _admitted: Admitted,
    ) -> Result<Ticket, Status> {
        let again = prepared.is_again().then(|| *prepared.id());
        let accepted = self.0.door.accept(caller, prepared, trace).await;
        if let Some(id) = again {
            audit::act(caller, "resubmit", &id, &accepted);
        }
        let ticket = accepted?;
        self.0.lookup.methods.learn(&ticket.method);
        if let Some(retry_of) = &ticket.retry_of {
            audit::replayed(caller, &ticket.id, retry_of);
        }
        Ok(ticket)
    }

    /// Submits a job for somebody who is going to follow it, and waits for nothing but its
    /// acceptance.
    pub(crate) async fn submit_job(
        &self,
        request: Request<SubmitRequest>,
    ) -> Result<Reading, Status> {
        let caller = Identity::of(&request)?;
        let (trace, room) = (trace_of(request.metadata()), CallRoom::of(&request));
        let admitted = self.0.door.admission.enter(request.get_ref().request.len())?;
        self.0.door.quotas.submit(&caller.tenant)?;
        let prepared = self.0.door.prepare(&caller, request.into_inner())?;
        let ticket = self.accept(&caller, prepared, trace, admitted).await?;
        // Following a job of one's own is part of submitting it; another's is to be read.
        let reading = Reading::submitted(&caller, &ticket, room);
        reading.inspect_err(|status| audit::refused(&caller, &ticket.method, status))
    }

    /// The job of a ticket. `place` was taken before the job was published; it waits
    /// for the job's end if `wait` is not zero.
    async fn job_of(
        &self,
        reading: Result<Reading, Status>,
        ticket: Ticket,
        place: Option<Place>,
        wait: Duration,
    ) -> Result<Job, Status> {
        let Ok(reading) = reading else {
            // Who has attached to another's job by its request id sees nothing by that.
            return Ok(view::accepted(&ticket.id, ticket.method));
        };
        let shown = if let Some(place) = place.filter(|_| !wait.is_zero() && !ticket.attached) {
            // Whatever happens to a new job, the place hears of it.
            Some(place.finished(&reading, Found::Pending, wait).await)
        } else if !wait.is_zero() {
            Some(self.0.waiter.wait(&reading, wait).await)
        } else if ticket.attached {
            // The job may be anywhere by now.
            Some(self.0.lookup.job(&reading).await)
        } else {
            None
        };
        // The submission has its part of the quota, whatever is left for a look.
        let shown = shown.filter(|shown| !shown.as_ref().is_err_and(quota::is_exceeded));
        let mut job = if let Some(shown) = shown {
            shown?
        } else if let Some(plan) = &ticket.plan {
            gather::accepted(&ticket.id, plan, &self.0.lookup)
        } else {
            view::accepted(&ticket.id, ticket.method)
        };
        // Until the job is finished only its envelope says so; afterwards its
        // outcome does, also when this submission only attached to it.
        if job.outcome.is_none() || !ticket.attached {
            job.retry_of = ticket.retry_of.map(|id| id.to_string()).unwrap_or_default();
        }
        Ok(job)
    }

    /// The job of an id that a caller gave in `field`, if it may do `verb` with it. Whether
    /// a job of another tenant exists nobody learns, also from what is granted.
    pub(crate) fn verify<T>(
        &self,
        request: &Request<T>,
        verb: Verb,
        field: &str,
        id: &str,
    ) -> Result<JobId, Status> {
        let caller = Identity::of(request)?;
        let id = JobId::verify(id, &caller.tenant, &self.0.job_id_keys);
        let id = id.map_err(|e| bad_id(field, e))?;
        let granted = caller.may_with(verb, &id);
        if granted.is_err() {
            audit::act(&caller, verb.name(), &id, &granted);
        }
        granted.map(|()| id)
    }

    /// The same for those who want to see it.
    pub(crate) fn reading<T>(
        &self,
        request: &Request<T>,
        verb: Verb,
        field: &str,
        id: &str,
    ) -> Result<Reading, Status> {
        let id = self.verify(request, verb, field, id)?;
        Reading::granted(&Identity::of(request)?, verb, &id, CallRoom::of(request))
    }

    /// The job when it is finished, or as it stands after `wait`, or in time for the
    /// caller's deadline.
    pub(crate) async fn wait(
        &self,
        job: &Reading,
        wait: Duration,
        metadata: &MetadataMap,
    ) -> Result<Job, Status> {
        self.0.waiter.wait(job, cap(wait, deadline_of(metadata))).await
    }

    pub(crate) async fn cancel_job(&self, id: &JobId) -> Result<Found, Status> {
        let found = self.0.lookup.cancel(id).await?;
        self.0.waiter.look(id.uuid());
        if let Found::Finished(record) = &found
            && id.is_gather()
            && record.state == State::Cancelled
        {
            // Of a cancelled gather no worker tells.
            self.0.door.tell(id).await?;
        }
        Ok(found)
    }

    /// Cancels a job for somebody who has asked for it.
    pub(crate) async fn cancel_for(&self, caller: &Identity, id: &JobId) -> Result<Found, Status> {
        let cancelled = match self.may_end(caller, id) {
            Ok(()) => self.cancel_job(id).await,
            Err(status) => Err(status),
        };
        audit::act(caller, "cancel", id, &cancelled);
        cancelled
    }

    /// Forgets the result of a job for somebody who has asked for it.
    pub(crate) async fn delete_for(&self, caller: &Identity, id: &JobId) -> Result<(), Status> {
        let deleted = match self.may_end(caller, id) {
            Ok(()) => self.0.lookup.delete(id, &caller.tenant).await,
            Err(status) => Err(status),
        };
        audit::act(caller, "delete", id, &deleted);
        deleted
    }

    /// The end of a gather is one for each of its branches.
    fn may_end(&self, caller: &Identity, id: &JobId) -> Result<(), Status> {
        if !id.is_gather() {
            return Ok(());
        }
        self.0.lookup.quotas.may_read(&caller.tenant)
    }

    /// Cancels a job that nobody waits for any more, with some patience: its caller is
    /// gone, and cannot do it again.
    pub(crate) async fn abandon(&self, id: &JobId) {
        for attempt in 1.. {
            match self.cancel_job(id).await {
                Ok(_) => return,
                Err(status) if status.code() == Code::Unavailable && attempt < ABANDON_TRIES => {
                    sleep(ABANDON_BACKOFF * attempt).await;
                }
                Err(status) => {
                    tracing::warn!(job = %id, %status, "an abandoned job was not cancelled");
                    return;
                }
            }
        }
    }

    /// What goes on after its caller has gone away: it can be waited for.
    pub(crate) fn background(&self) -> &TaskTracker {
        &self.1
    }

    /// Fires when the gateway shuts down.
    pub(crate) fn draining(&self) -> &CancellationToken {
        &self.0.draining
    }

    /// Fires when the shutdown is about to end what is in hand.
    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.0.closing
    }

    pub(crate) fn lookup(&self) -> &Lookup {
        &self.0.lookup
    }

    pub(crate) fn shared_lookup(&self) -> Arc<Lookup> {
        self.0.lookup.clone()
    }

    pub(crate) fn door(&self) -> &FrontDoor {
        &self.0.door
    }

    pub(crate) fn waiter(&self) -> &Waiter {
        &self.0.waiter
    }
}

/// The trace that a call belongs to. Two headers name none, by W3C Trace Context.
pub(crate) fn trace_of(metadata: &MetadataMap) -> Option<TraceContext> {
    if metadata.get_all("traceparent").iter().count() > 1 {
        return None;
    }
    // Several headers are one list (W3C Trace Context, 3.3.1.1).
    let states = metadata.get_all("tracestate").iter().filter_map(|value| value.to_str().ok());
    let states: Vec<&str> = states.filter(|state| !state.is_empty()).collect();
    let traceparent = metadata.get("traceparent")?.to_str().ok()?.to_owned();
    Some(TraceContext { traceparent, tracestate: states.join(",") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_trace_states_are_one_list() {
        let mut metadata = MetadataMap::new();
        metadata.insert("traceparent", "00-1".parse().unwrap());
        for state in ["a=1,b=2", "", "c=3"] {
            metadata.append("tracestate", state.parse().unwrap());
        }
        assert_eq!(trace_of(&metadata).unwrap().tracestate, "a=1,b=2,c=3");
    }
}

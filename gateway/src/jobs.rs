//! The `Jobs` service: RPCs to and from the parts that do the work.

use crate::admission::Place as Admitted;
use crate::audit;
use crate::auth::Verb;
use crate::download;
use crate::gather;
use crate::group::Members;
use crate::identity::Identity;
use crate::lookup::{Found, Lookup, bad_id};
use crate::oversize;
use crate::read_stream;
use crate::submission::duration;
use crate::submit::{FrontDoor, Prepared, Ticket};
use crate::version::Version;
use crate::view;
use crate::waiter::{Interest, Place, Waiter};
use crate::watch;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use prost::Message;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::outcome::to_rpc_status;
use queuebridge_proto::time::grpc_timeout;
use queuebridge_proto::v1::jobs_server::Jobs;
use queuebridge_proto::v1::submit_result::Result as ItemResult;
use queuebridge_proto::v1::{
    CancelRequest, DeleteRequest, DownloadResultRequest, DownloadResultResponse, GetResultRequest,
    Job, ListBranchesRequest, ListBranchesResponse, ReadStreamRequest, ReadStreamResponse, State,
    SubmitBatchRequest, SubmitBatchResponse, SubmitRequest, SubmitResult, TraceContext,
    WatchResultRequest, WatchResultResponse,
};
use queuebridge_proto::{JobId, Keyring};
use std::future::ready;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming};

const MAX_BATCH: usize = 1_000;
/// Submissions of one batch or stream that are under way at once: enough to fill
/// several queue requests, little enough that one caller leaves room for others.
const ITEMS_AT_ONCE: usize = 256;
/// The longest time for which one call waits.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(300);
/// What is kept back of the caller's deadline, so that the answer arrives in time.
const DEADLINE_MARGIN: Duration = Duration::from_millis(100);
/// How often an abandoned job is tried to be cancelled.
const ABANDON_TRIES: u32 = 4;
const ABANDON_BACKOFF: Duration = Duration::from_millis(200);

/// What becomes of a submission for which the tenant's quota is used up.
#[derive(Clone, Copy)]
enum Pace {
    /// In a batch: whoever has sent it hears which of them to send again.
    Refused,
    /// In a stream.
    Slowed,
}

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
        let ticket = self.0.door.accept(caller, prepared, trace).await?;
        self.0.lookup.methods.learn(&ticket.method);
        if let Some(retry_of) = &ticket.retry_of {
            audit::replayed(caller, &ticket.id, retry_of);
        }
        Ok(ticket)
    }

    /// Submits a job, and waits for nothing but its acceptance.
    pub(crate) async fn submit_job(
        &self,
        request: Request<SubmitRequest>,
    ) -> Result<JobId, Status> {
        let caller = Identity::of(&request)?;
        let trace = trace_of(request.metadata());
        let admitted = self.0.door.admission.enter(request.get_ref().request.len())?;
        self.0.door.quotas.submit(&caller.tenant)?;
        let prepared = self.0.door.prepare(&caller, request.into_inner())?;
        Ok(self.accept(&caller, prepared, trace, admitted).await?.id)
    }

    /// The job of a ticket. `place` was taken before the job was published; it waits
    /// for the job's end if `wait` is not zero.
    async fn job_of(
        &self,
        ticket: Ticket,
        place: Option<Place>,
        wait: Duration,
    ) -> Result<Job, Status> {
        let mut job = if let Some(place) = place.filter(|_| !wait.is_zero() && !ticket.attached) {
            // Whatever happens to a new job, the place hears of it.
            place.finished(Found::Pending, wait).await?
        } else if !wait.is_zero() {
            self.0.waiter.wait(&ticket.id, wait).await?
        } else if ticket.attached {
            // The job may be anywhere by now.
            self.0.lookup.job(&ticket.id).await?
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

    async fn item(
        &self,
        index: u64,
        pace: Pace,
        caller: &Identity,
        request: SubmitRequest,
        trace: Option<TraceContext>,
        group: Option<&Members>,
    ) -> SubmitResult {
        let result = async {
            match pace {
                Pace::Refused => self.0.door.quotas.submit(&caller.tenant)?,
                Pace::Slowed => self.0.door.quotas.wait(&caller.tenant).await,
            }
            let admitted = self.0.door.admission.wait(request.encoded_len()).await?;
            if let Some(group) = group {
                let position = u32::try_from(index).unwrap_or(u32::MAX);
                let ticket = self.0.door.accept_member(caller, group, position, request, trace);
                let ticket = ticket.await?;
                self.0.lookup.methods.learn(&ticket.method);
                return Ok(view::accepted(&ticket.id, ticket.method));
            }
            let prepared = self.0.door.prepare(caller, request)?;
            let ticket = self.accept(caller, prepared, trace, admitted).await?;
            self.job_of(ticket, None, Duration::ZERO).await
        };
        let result = match result.await {
            Ok(job) => ItemResult::Job(job),
            Err(status) => ItemResult::Error(to_rpc_status(&status)),
        };
        SubmitResult { index, result: Some(result) }
    }

    /// A group after its jobs were sent: they are, whether it can be looked up or not.
    async fn job_of_group(&self, group: &Members) -> Job {
        let job = self.0.lookup.job(&group.id).await;
        job.unwrap_or_else(|_| view::accepted(&group.id, group.plan.method.clone()))
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

    /// The job when it is finished, or as it stands after `wait`, or in time for the
    /// caller's deadline.
    pub(crate) async fn wait(
        &self,
        id: &JobId,
        wait: Duration,
        metadata: &MetadataMap,
    ) -> Result<Job, Status> {
        self.0.waiter.wait(id, cap(wait, deadline_of(metadata))).await
    }

    pub(crate) async fn cancel_job(&self, id: &JobId) -> Result<Job, Status> {
        let job = self.0.lookup.cancel(id).await?;
        self.0.waiter.look(id.uuid());
        if id.is_gather() && job.state() == State::Cancelled {
            // Of a cancelled gather no worker tells.
            self.0.door.tell(id).await?;
        }
        Ok(job)
    }

    /// Cancels a job for somebody who has asked for it.
    pub(crate) async fn cancel_for(&self, caller: &Identity, id: &JobId) -> Result<Job, Status> {
        let cancelled = self.cancel_job(id).await;
        audit::act(caller, "cancel", id, &cancelled);
        cancelled
    }

    /// Forgets the result of a job for somebody who has asked for it.
    pub(crate) async fn delete_for(&self, caller: &Identity, id: &JobId) -> Result<(), Status> {
        let deleted = self.0.lookup.delete(id, &caller.tenant).await;
        audit::act(caller, "delete", id, &deleted);
        deleted
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

#[tonic::async_trait]
impl Jobs for JobsService {
    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<Job>, Status> {
        let caller = Identity::of(&request)?;
        let trace = trace_of(request.metadata());
        let (begun, deadline) = (Instant::now(), deadline_of(request.metadata()));
        let admitted = self.0.door.admission.enter(request.get_ref().request.len())?;
        self.0.door.quotas.submit(&caller.tenant)?;
        let prepared = self.0.door.prepare(&caller, request.into_inner())?;
        let wait = prepared.wait();
        // Before the job is published, so that its end is not missed.
        let subscribe = || self.0.waiter.subscribe(prepared.id(), Interest::End);
        let place = (!wait.is_zero()).then(subscribe);
        let ticket = self.accept(&caller, prepared, trace, admitted).await?;
        // Publishing has taken its part of the caller's time.
        let left = deadline.map(|deadline| deadline.saturating_sub(begun.elapsed()));
        Ok(Response::new(self.job_of(ticket, place, cap(wait, left)).await?))
    }

    async fn submit_batch(
        &self,
        request: Request<SubmitBatchRequest>,
    ) -> Result<Response<SubmitBatchResponse>, Status> {
        let caller = Identity::of(&request)?;
        let trace = trace_of(request.metadata());
        let SubmitBatchRequest { jobs, group } = request.into_inner();
        if jobs.is_empty() || jobs.len() > MAX_BATCH {
            return Err(error::invalid_field("jobs", "from 1 to 1,000 submissions"));
        }
        let group = match &group {
            Some(group) => Some(self.0.door.group(&caller, group, &jobs).await?),
            None => None,
        };
        let items = (0..).zip(jobs);
        let results = stream::iter(items)
            .map(|(index, job)| {
                self.item(index, Pace::Refused, &caller, job, trace.clone(), group.as_ref())
            })
            .buffered(ITEMS_AT_ONCE)
            .collect()
            .await;
        let group = match group {
            Some(group) => Some(self.job_of_group(&group).await),
            None => None,
        };
        Ok(Response::new(SubmitBatchResponse { results, group }))
    }

    type SubmitStreamStream = BoxStream<'static, Result<SubmitResult, Status>>;

    async fn submit_stream(
        &self,
        request: Request<Streaming<SubmitRequest>>,
    ) -> Result<Response<Self::SubmitStreamStream>, Status> {
        let caller = Identity::of(&request)?;
        let trace = trace_of(request.metadata());
        let service = self.clone();
        let drained = self.0.draining.clone();
        let draining = self.0.draining.clone();
        let broken = Arc::new(OnceLock::new());
        let seen = broken.clone();
        let acks = request
            .into_inner()
            // On shutdown no further submission is read; those in hand are
            // acknowledged first.
            .take_until(async move { draining.cancelled().await })
            // Nor after a message that cannot be read.
            .scan((), move |(), job| {
                ready(job.map_err(|status| seen.set(oversize::of_message(status))).ok())
            })
            .enumerate()
            .map(move |(index, job)| {
                let (service, caller, trace) = (service.clone(), caller.clone(), trace.clone());
                async move {
                    Ok(service.item(index as u64, Pace::Slowed, &caller, job, trace, None).await)
                }
            })
            .buffer_unordered(ITEMS_AT_ONCE);
        let last = stream::once(async move {
            let message = "the gateway is shutting down; what was not acknowledged was not taken";
            let status = || error::status(Code::Unavailable, reason::DRAINING, message);
            match broken.get() {
                Some(status) => Some(Err(status.clone())),
                None => drained.is_cancelled().then(|| Err(status())),
            }
        });
        Ok(Response::new(acks.chain(last.filter_map(ready)).boxed()))
    }

    async fn get_result(
        &self,
        request: Request<GetResultRequest>,
    ) -> Result<Response<Job>, Status> {
        let id = self.verify(&request, Verb::Read, "id", &request.get_ref().id)?;
        let wait = duration("wait", request.get_ref().wait.as_ref())?;
        Ok(Response::new(self.wait(&id, wait, request.metadata()).await?))
    }

    type WatchResultStream = BoxStream<'static, Result<WatchResultResponse, Status>>;

    async fn watch_result(
        &self,
        request: Request<WatchResultRequest>,
    ) -> Result<Response<Self::WatchResultStream>, Status> {
        let id = self.verify(&request, Verb::Watch, "id", &request.get_ref().id)?;
        let seen =
            match &request.get_ref().resume_token {
                token if token.is_empty() => None,
                token => Some(Version::from_token(token, &id).ok_or_else(|| {
                    error::invalid_field("resume_token", "not a token of this job")
                })?),
            };
        let changes = watch::changes(&self.0.waiter, id, seen).map(move |shown| {
            let (job, version) = shown?;
            let resume_token = version.to_token(&id).into();
            Ok(WatchResultResponse { job: Some(job), resume_token })
        });
        Ok(Response::new(changes.boxed()))
    }

    type DownloadResultStream = BoxStream<'static, Result<DownloadResultResponse, Status>>;

    async fn download_result(
        &self,
        request: Request<DownloadResultRequest>,
    ) -> Result<Response<Self::DownloadResultStream>, Status> {
        let id = self.verify(&request, Verb::Read, "id", &request.get_ref().id)?;
        let pieces = download::pieces(self.0.lookup.clone(), id, request.get_ref().offset).await?;
        Ok(Response::new(pieces))
    }

    type ReadStreamStream = BoxStream<'static, Result<ReadStreamResponse, Status>>;

    async fn read_stream(
        &self,
        request: Request<ReadStreamRequest>,
    ) -> Result<Response<Self::ReadStreamStream>, Status> {
        let id = self.verify(&request, Verb::Read, "id", &request.get_ref().id)?;
        let ReadStreamRequest { from, attempt, .. } = request.into_inner();
        Ok(Response::new(read_stream::messages(self, id, from, &attempt).await?))
    }

    async fn list_branches(
        &self,
        request: Request<ListBranchesRequest>,
    ) -> Result<Response<ListBranchesResponse>, Status> {
        let id = self.verify(&request, Verb::Read, "id", &request.get_ref().id)?;
        let ListBranchesRequest { page_size, page_token, .. } = request.get_ref();
        Ok(Response::new(self.0.lookup.page(&id, *page_size, page_token).await?))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<Job>, Status> {
        let id = self.verify(&request, Verb::Cancel, "id", &request.get_ref().id)?;
        Ok(Response::new(self.cancel_for(&Identity::of(&request)?, &id).await?))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<()>, Status> {
        let id = self.verify(&request, Verb::Admin, "id", &request.get_ref().id)?;
        Ok(Response::new(self.delete_for(&Identity::of(&request)?, &id).await?))
    }
}

/// A wait that ends before the caller's own deadline.
fn cap(wait: Duration, deadline: Option<Duration>) -> Duration {
    let wait = wait.min(MAX_WAIT);
    deadline.map_or(wait, |left| {
        let margin = DEADLINE_MARGIN.min(left / 4);
        wait.min(left.saturating_sub(margin))
    })
}

/// The caller's `grpc-timeout`.
pub(crate) fn deadline_of(metadata: &MetadataMap) -> Option<Duration> {
    grpc_timeout(metadata.get("grpc-timeout")?.to_str().ok()?)
}

pub(crate) fn trace_of(metadata: &MetadataMap) -> Option<TraceContext> {
    let text = |key| metadata.get(key).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let tracestate = text("tracestate").unwrap_or_default();
    text("traceparent").map(|traceparent| TraceContext { traceparent, tracestate })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_before_the_callers_deadline() {
        let secs = Duration::from_secs;
        assert_eq!(cap(secs(10), None), secs(10));
        assert_eq!(cap(secs(10_000), None), MAX_WAIT);
        assert_eq!(cap(secs(10), Some(secs(5))), Duration::from_millis(4900));
        assert_eq!(cap(secs(10), Some(Duration::from_millis(40))), Duration::from_millis(30));
        assert_eq!(cap(secs(1), Some(secs(5))), secs(1));
    }
}

//! The `Jobs` service: RPCs to and from the parts that do the work.

use crate::admission::Place;
use crate::identity::Identity;
use crate::lookup::{Lookup, bad_id};
use crate::oversize;
use crate::submission::duration;
use crate::submit::{FrontDoor, Ticket};
use crate::view;
use crate::waiter::Waiter;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use prost::Message;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::outcome::to_rpc_status;
use queuebridge_proto::time::grpc_timeout;
use queuebridge_proto::v1::jobs_server::Jobs;
use queuebridge_proto::v1::submit_result::Result as ItemResult;
use queuebridge_proto::v1::{
    CancelRequest, GetResultRequest, Job, SubmitBatchRequest, SubmitBatchResponse, SubmitRequest,
    SubmitResult, TraceContext,
};
use queuebridge_proto::{JobId, Keyring};
use std::future::ready;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming};

const MAX_BATCH: usize = 1_000;
/// Submissions of one batch or stream that are under way at once: enough to fill
/// several queue requests, little enough that one caller leaves room for others.
const ITEMS_AT_ONCE: usize = 256;
const MAX_WAIT: Duration = Duration::from_secs(300);
/// What is kept back of the caller's deadline, so that the answer arrives in time.
const DEADLINE_MARGIN: Duration = Duration::from_millis(100);

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct JobsService(Arc<Parts>);

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
}

impl JobsService {
    /// The service over its parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    async fn submit_one(
        &self,
        caller: &Identity,
        request: SubmitRequest,
        trace: Option<TraceContext>,
        _place: Place,
    ) -> Result<Ticket, Status> {
        let ticket = self.0.door.submit(caller, request, trace).await?;
        self.0.lookup.methods.learn(&ticket.method);
        Ok(ticket)
    }

    /// The job of a ticket, waiting for its end if `wait` is not zero.
    async fn job_of(&self, ticket: Ticket, wait: Duration) -> Result<Job, Status> {
        let mut job = if !wait.is_zero() {
            self.0.waiter.wait(&ticket.id, wait).await?
        } else if ticket.attached {
            // The job may be anywhere by now.
            self.0.lookup.job(&ticket.id).await?
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
        caller: &Identity,
        request: SubmitRequest,
        trace: Option<TraceContext>,
    ) -> SubmitResult {
        let result = async {
            let place = self.0.door.admission.wait(request.encoded_len()).await?;
            let ticket = self.submit_one(caller, request, trace, place).await?;
            self.job_of(ticket, Duration::ZERO).await
        };
        let result = match result.await {
            Ok(job) => ItemResult::Job(job),
            Err(status) => ItemResult::Error(to_rpc_status(&status)),
        };
        SubmitResult { index, result: Some(result) }
    }

    fn verify(&self, caller: &Identity, id: &str) -> Result<JobId, Status> {
        JobId::verify(id, &caller.tenant, &self.0.job_id_keys).map_err(|e| bad_id("id", e))
    }
}

#[tonic::async_trait]
impl Jobs for JobsService {
    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<Job>, Status> {
        let caller = Identity::of(&request)?;
        let trace = trace_of(request.metadata());
        let (begun, deadline) = (Instant::now(), deadline_of(request.metadata()));
        let place = self.0.door.admission.enter(request.get_ref().request.len())?;
        let ticket = self.submit_one(&caller, request.into_inner(), trace, place).await?;
        // Publishing has taken its part of the caller's time.
        let left = deadline.map(|deadline| deadline.saturating_sub(begun.elapsed()));
        let wait = cap(ticket.wait, left);
        Ok(Response::new(self.job_of(ticket, wait).await?))
    }

    async fn submit_batch(
        &self,
        request: Request<SubmitBatchRequest>,
    ) -> Result<Response<SubmitBatchResponse>, Status> {
        let caller = Identity::of(&request)?;
        let trace = trace_of(request.metadata());
        let jobs = request.into_inner().jobs;
        if jobs.is_empty() || jobs.len() > MAX_BATCH {
            return Err(error::invalid_field("jobs", "from 1 to 1,000 submissions"));
        }
        let items = (0..).zip(jobs);
        let results = stream::iter(items)
            .map(|(index, job)| self.item(index, &caller, job, trace.clone()))
            .buffered(ITEMS_AT_ONCE)
            .collect()
            .await;
        Ok(Response::new(SubmitBatchResponse { results }))
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
                async move { Ok(service.item(index as u64, &caller, job, trace).await) }
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
        let caller = Identity::of(&request)?;
        let deadline = deadline_of(request.metadata());
        let request = request.into_inner();
        let id = self.verify(&caller, &request.id)?;
        let wait = cap(duration("wait", request.wait.as_ref())?, deadline);
        Ok(Response::new(self.0.waiter.wait(&id, wait).await?))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<Job>, Status> {
        let caller = Identity::of(&request)?;
        let id = self.verify(&caller, &request.get_ref().id)?;
        let job = self.0.lookup.cancel(&id).await?;
        self.0.waiter.announce(id.uuid());
        Ok(Response::new(job))
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
fn deadline_of(metadata: &MetadataMap) -> Option<Duration> {
    grpc_timeout(metadata.get("grpc-timeout")?.to_str().ok()?)
}

fn trace_of(metadata: &MetadataMap) -> Option<TraceContext> {
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

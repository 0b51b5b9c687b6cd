//! The RPCs of `Jobs`.

use super::item::Pace;
use super::stream;
use super::time::cap;
use super::{JobsService, deadline_of, trace_of};
use crate::auth::Verb;
use crate::download;
use crate::identity::Identity;
use crate::leaving::CallRoom;
use crate::read_stream;
use crate::reading::Reading;
use crate::submission::duration;
use crate::version::Version;
use crate::waiter::Interest;
use crate::watch;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, iter};
use queuebridge_proto::error;
use queuebridge_proto::v1::jobs_server::Jobs;
use queuebridge_proto::v1::{
    CancelRequest, DeleteRequest, DownloadResultRequest, DownloadResultResponse, GetResultRequest,
    Job, ListBranchesRequest, ListBranchesResponse, ReadStreamRequest, ReadStreamResponse,
    SubmitBatchRequest, SubmitBatchResponse, SubmitRequest, SubmitResult, WatchResultRequest,
    WatchResultResponse,
};
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status, Streaming};

const MAX_BATCH: usize = 1_000;
/// Submissions of one batch that are under way at once: enough to fill
/// several queue requests, little enough that one caller leaves room for others.
const ITEMS_AT_ONCE: usize = 256;

#[tonic::async_trait]
impl Jobs for JobsService {
    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<Job>, Status> {
        let caller = Identity::of(&request)?;
        let (trace, room) = (trace_of(request.metadata()), CallRoom::of(&request));
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
        let reading = Reading::submitted(&caller, &ticket, room);
        Ok(Response::new(self.job_of(reading, ticket, place, cap(wait, left)).await?))
    }

    async fn submit_batch(
        &self,
        request: Request<SubmitBatchRequest>,
    ) -> Result<Response<SubmitBatchResponse>, Status> {
        let items = self.items(&request)?;
        let caller = &items.caller;
        let SubmitBatchRequest { jobs, group } = request.into_inner();
        if jobs.is_empty() || jobs.len() > MAX_BATCH {
            return Err(error::invalid_field("jobs", "from 1 to 1,000 submissions"));
        }
        if group.as_ref().is_some_and(|group| group.id.is_empty()) {
            // Its plan is written before anything else.
            self.0.door.has_key().await?;
            self.0.door.quotas.submit(&caller.tenant)?;
        }
        let group = match &group {
            Some(group) => Some(self.0.door.group(caller, group, &jobs).await?),
            None => None,
        };
        let results = iter((0..).zip(jobs))
            .map(|(index, job)| {
                let (items, group) = (&items, group.as_ref());
                async move {
                    let admitted = items.admit(Pace::Refused, &job).await;
                    items.submit(index, admitted, job, group).await
                }
            })
            .buffered(ITEMS_AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        let results = results.into_iter().map(|(result, _)| result).collect();
        let group = match group {
            Some(group) => Some(items.group(&group).await),
            None => None,
        };
        Ok(Response::new(SubmitBatchResponse { results, group }))
    }

    type SubmitStreamStream = BoxStream<'static, Result<SubmitResult, Status>>;

    async fn submit_stream(
        &self,
        request: Request<Streaming<SubmitRequest>>,
    ) -> Result<Response<Self::SubmitStreamStream>, Status> {
        let items = self.items(&request)?;
        Ok(Response::new(stream::acknowledged(items, request.into_inner())))
    }

    async fn get_result(
        &self,
        request: Request<GetResultRequest>,
    ) -> Result<Response<Job>, Status> {
        let job = self.reading(&request, Verb::Read, "id", &request.get_ref().id)?;
        let wait = duration("wait", request.get_ref().wait.as_ref())?;
        Ok(Response::new(self.wait(&job, wait, request.metadata()).await?))
    }

    type WatchResultStream = BoxStream<'static, Result<WatchResultResponse, Status>>;

    async fn watch_result(
        &self,
        request: Request<WatchResultRequest>,
    ) -> Result<Response<Self::WatchResultStream>, Status> {
        let job = self.reading(&request, Verb::Watch, "id", &request.get_ref().id)?;
        let id = *job.id();
        let seen =
            match &request.get_ref().resume_token {
                token if token.is_empty() => None,
                token => Some(Version::from_token(token, &id).ok_or_else(|| {
                    error::invalid_field("resume_token", "not a token of this job")
                })?),
            };
        let changes = watch::changes(&self.0.waiter, job, seen).map(move |shown| {
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
        let job = self.reading(&request, Verb::Read, "id", &request.get_ref().id)?;
        let pieces = download::pieces(self.0.lookup.clone(), job, request.get_ref().offset).await?;
        Ok(Response::new(pieces))
    }

    type ReadStreamStream = BoxStream<'static, Result<ReadStreamResponse, Status>>;

    async fn read_stream(
        &self,
        request: Request<ReadStreamRequest>,
    ) -> Result<Response<Self::ReadStreamStream>, Status> {
        let job = self.reading(&request, Verb::Read, "id", &request.get_ref().id)?;
        let ReadStreamRequest { from, attempt, .. } = request.into_inner();
        Ok(Response::new(read_stream::messages(self, job, from, &attempt).await?))
    }

    async fn list_branches(
        &self,
        request: Request<ListBranchesRequest>,
    ) -> Result<Response<ListBranchesResponse>, Status> {
        let job = self.reading(&request, Verb::Read, "id", &request.get_ref().id)?;
        let ListBranchesRequest { page_size, page_token, .. } = request.get_ref();
        Ok(Response::new(self.0.lookup.page(&job, *page_size, page_token).await?))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<Job>, Status> {
        let id = self.verify(&request, Verb::Cancel, "id", &request.get_ref().id)?;
        let (caller, room) = (Identity::of(&request)?, CallRoom::of(&request));
        let found = self.cancel_for(&caller, &id).await?;
        let shown = match Reading::granted(&caller, Verb::Read, &id, room) {
            Ok(reading) => self.0.lookup.show(&reading, found.clone()).await,
            Err(_) => return Ok(Response::new(self.0.lookup.outline(&id, found)?)),
        };
        Ok(Response::new(match shown {
            // It is cancelled, whether there is room for what it says or not.
            Err(status) if status.code() == Code::ResourceExhausted => {
                self.0.lookup.outline(&id, found)?
            }
            shown => shown?,
        }))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<()>, Status> {
        let id = self.verify(&request, Verb::Admin, "id", &request.get_ref().id)?;
        Ok(Response::new(self.delete_for(&Identity::of(&request)?, &id).await?))
    }
}

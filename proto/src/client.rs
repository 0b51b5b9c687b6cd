//! A typed client: submit a prost message, await the typed answer.
//!
//! It works over anything that speaks gRPC: a `tonic` channel, or a service in
//! the same process.
//!
//! ```no_run
//! # use queuebridge_proto::client::{Client, Options};
//! # async fn example<T>(channel: T) -> Result<(), tonic::Status>
//! # where T: tonic::client::GrpcService<tonic::body::Body> + Clone, T::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
//! # T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static, <T::ResponseBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send {
//! # type ThumbnailRequest = (); type ThumbnailResponse = ();
//! let client = Client::new(channel);
//! let job = client.submit("/demo.Images/Thumbnail", &ThumbnailRequest::default(), Options::default()).await?;
//! let answer: ThumbnailResponse = client.result(&job.id).await?;
//! # Ok(()) }
//! ```

use crate::gather::LIST_TYPE;
use crate::outcome::from_rpc_status;
use crate::time::duration_to_proto;
use crate::v1::jobs_client::JobsClient;
use crate::v1::submit_request::Expiry;
use crate::v1::{
    Callback, DownloadInfo, DownloadResultRequest, GatherRule, GetResultRequest, Job, Metadatum,
    State, SubmitRequest, job::Outcome,
};
use bytes::{Bytes, BytesMut};
use prost::Message;
use sha2::{Digest, Sha256};
use std::time::Duration;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::{Code, Status};

type StdError = Box<dyn std::error::Error + Send + Sync>;

/// How long one look-up waits; [`Client::result`] repeats it.
const WAIT: Duration = Duration::from_secs(20);

/// How often in a row a download may break without a single byte.
const BREAKS: u32 = 3;

/// Submits typed requests and awaits typed answers.
#[derive(Clone, Debug)]
pub struct Client<T> {
    inner: JobsClient<T>,
}

/// What a submission may say besides its method and request. The default leaves
/// everything to the route.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Metadata for the handler.
    pub metadata: Vec<Metadatum>,
    /// Makes the submission idempotent; empty: it is not.
    pub request_id: String,
    /// For how long the work is wanted.
    pub expire_after: Option<Duration>,
    /// How long the result is kept after completion.
    pub result_retention: Option<Duration>,
    /// Not before this much time from now.
    pub delay: Option<Duration>,
    /// Jobs with the same key run one after the other.
    pub ordering_key: String,
    /// The id of the job that this one repeats; empty when it is no replay.
    pub retry_of: String,
    /// Whom to tell when the job is finished.
    pub callback: Option<Callback>,
    /// When a job with branches is finished, in place of its route's rule.
    pub gather: Option<GatherRule>,
    /// The branches to which it goes; empty: all that its route selects.
    pub branches: Vec<String>,
}

impl<T> Client<T>
where
    T: GrpcService<Body> + Clone,
    T::Error: Into<StdError>,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<StdError> + Send,
{
    /// A client over `transport`.
    pub fn new(transport: T) -> Self {
        Self { inner: JobsClient::new(transport) }
    }

    /// Submits one call of `method`.
    ///
    /// # Errors
    /// The status of `Jobs.Submit`.
    pub async fn submit<Req: Message>(
        &self,
        method: &str,
        request: &Req,
        options: Options,
    ) -> Result<Job, Status> {
        let request = SubmitRequest {
            method: method.to_owned(),
            request: request.encode_to_vec().into(),
            metadata: options.metadata,
            request_id: options.request_id,
            expiry: options.expire_after.map(|d| Expiry::ExpireAfter(duration_to_proto(d))),
            result_retention: options.result_retention.map(duration_to_proto),
            delay: options.delay.map(duration_to_proto),
            ordering_key: options.ordering_key,
            retry_of: options.retry_of,
            callback: options.callback,
            gather: options.gather,
            branches: options.branches,
            ..SubmitRequest::default()
        };
        Ok(self.inner.clone().submit(request).await?.into_inner())
    }

    /// Waits until the job is finished and returns its answer.
    ///
    /// # Errors
    /// The job's own error with its details, or the status of the look-up.
    /// `FAILED_PRECONDITION` when the answer is the list of its branches, which
    /// [`Client::finished`] has.
    pub async fn result<Res: Message + Default>(&self, id: &str) -> Result<Res, Status> {
        let response = match self.finished(id).await?.outcome {
            Some(Outcome::Response(response)) => response,
            Some(Outcome::Error(status)) => return Err(from_rpc_status(&status)),
            None => return Err(Status::internal("the job has ended without an outcome")),
        };
        if response.r#type == LIST_TYPE {
            let message = "the answer is the list of the branches: `finished` has it";
            return Err(Status::failed_precondition(message));
        }
        let message = if response.size > response.message.len() as u64 {
            self.download(id).await?
        } else {
            response.message
        };
        Res::decode(message).map_err(|error| {
            Status::internal(format!("the answer is not of the expected type: {error}"))
        })
    }

    /// Waits until the job is finished, in whatever way, and returns it with its branches.
    ///
    /// # Errors
    /// The status of the look-up.
    pub async fn finished(&self, id: &str) -> Result<Job, Status> {
        loop {
            let request =
                GetResultRequest { id: id.to_owned(), wait: Some(duration_to_proto(WAIT)) };
            let job = self.inner.clone().get_result(request).await?.into_inner();
            let under_way = [State::Unspecified, State::Accepted, State::Running];
            if job.outcome.is_some() || !under_way.contains(&job.state()) {
                return Ok(job);
            }
        }
    }

    /// Fetches the serialized answer of a succeeded job, however large it is, into
    /// memory. A stream that breaks is taken up where it ended.
    ///
    /// # Errors
    /// The status of `Jobs.DownloadResult`; `DATA_LOSS` if the digest is wrong.
    pub async fn download(&self, id: &str) -> Result<Bytes, Status> {
        let mut answer = BytesMut::new();
        let mut breaks = 0;
        let info = loop {
            let before = answer.len();
            match self.download_rest(id, &mut answer).await {
                Ok(info) => break info,
                Err(status) if status.code() == Code::Unavailable && breaks < BREAKS => {
                    breaks = if answer.len() > before { 1 } else { breaks + 1 };
                }
                Err(status) => return Err(status),
            }
        };
        if answer.len() as u64 != info.size || Sha256::digest(&answer)[..] != info.sha256[..] {
            return Err(Status::data_loss("the answer was altered on its way"));
        }
        Ok(answer.freeze())
    }

    async fn download_rest(&self, id: &str, answer: &mut BytesMut) -> Result<DownloadInfo, Status> {
        let offset = answer.len() as u64;
        let request = DownloadResultRequest { id: id.to_owned(), offset };
        let mut parts = self.inner.clone().download_result(request).await?.into_inner();
        let mut all = DownloadInfo::default();
        while let Some(message) = parts.message().await? {
            all = message.info.unwrap_or(all);
            answer.extend_from_slice(&message.chunk);
        }
        Ok(all)
    }

    /// The generated client, for everything else.
    pub fn jobs(&self) -> JobsClient<T> {
        self.inner.clone()
    }
}

//! A parked call as a new job.

use super::parked::Parked;
use crate::cli::client::CALL;
use crate::cli::connect::Jobs;
use crate::cli::failure::Failure;
use bytes::Bytes;
use queuebridge_proto::error::{RETRY_PUSHBACK, reason};
use queuebridge_proto::headers::is_transport;
use queuebridge_proto::v1::call::Payload;
use queuebridge_proto::v1::{Call, GatherRule, Job, Metadatum, PayloadRef, SubmitRequest};
use queuebridge_store::encryption::OpenError;
use queuebridge_store::{PayloadError, PayloadStore};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

/// How often a submission is offered while the gateway asks to come back: with
/// the pauses between, a restart of the gateway is survived.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Submits parked calls as new jobs.
pub(super) struct Submitter {
    pub(super) jobs: Jobs,
    /// Where requests are that no message could carry.
    pub(super) payloads: Option<Arc<dyn PayloadStore>>,
    /// What the gateway takes at most.
    pub(super) max_message_bytes: usize,
    pub(super) pace: Pace,
}

/// What became of a parked call.
pub(super) enum Submitted {
    /// It is this job, new or of an earlier replay.
    As(Box<Job>),
    /// It stays where it is.
    Not(Stays),
    /// The replay was told to stop first.
    Stopped,
}

/// Why a message stays parked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stays {
    #[error(transparent)]
    Unreadable(#[from] OpenError),
    #[error("it is a callback; say where to with --callback-queue")]
    Callback,
    #[error("its callback is made again, and it could not be deleted: {0}")]
    NotDeleted(String),
    #[error("its request lies in a payload store, and none is configured")]
    NoPayloadStore,
    #[error("its request: {0}")]
    Payload(#[from] PayloadError),
    #[error("its request was a stream that was still open, and the message has its beginning only")]
    OpenStream,
    #[error("its request of {0} bytes is larger than the gateway's messages may be")]
    TooLarge(u64),
    #[error("{}", Failure::Call(.0.clone()))]
    Refused(Box<Status>),
}

impl Submitter {
    /// Submits the call of a parked message.
    ///
    /// # Errors
    /// What would stand in the way of every other message as well.
    pub(super) async fn submit(
        &self,
        parked: &Parked,
        stopping: &CancellationToken,
    ) -> Result<Submitted, Failure> {
        let call = match &parked.call {
            Ok(call) => call,
            Err(error) => return Ok(Submitted::Not(Stays::Unreadable(error.clone()))),
        };
        let request = match self.request_of(call).await {
            Ok(request) => request,
            Err(Stays::Payload(PayloadError::Unavailable(error))) => {
                return Err(Failure::Other(PayloadError::Unavailable(error).to_string()));
            }
            Err(stays) => return Ok(Submitted::Not(stays)),
        };
        let submission = submission(call, request);
        tokio::select! {
            biased;
            () = stopping.cancelled() => return Ok(Submitted::Stopped),
            () = self.pace.turn() => {}
        }
        self.offer(submission, stopping).await
    }

    async fn request_of(&self, call: &Call) -> Result<Bytes, Stays> {
        if call.request_open {
            return Err(Stays::OpenStream);
        }
        match (&call.payload, &self.payloads) {
            (None, _) => Ok(Bytes::new()),
            (Some(Payload::Request(request)), _) => Ok(request.clone()),
            // Before it is fetched; the gateway counts the rest of its message.
            (Some(Payload::RequestRef(PayloadRef { size, .. })), _)
                if usize::try_from(*size).is_ok_and(|size| size > self.max_message_bytes) =>
            {
                Err(Stays::TooLarge(*size))
            }
            (Some(Payload::RequestRef(at)), Some(payloads)) => Ok(payloads.get(at).await?),
            (Some(Payload::RequestRef(_)), None) => Err(Stays::NoPayloadStore),
        }
    }

    /// Until there is an answer for this message. Repeating is harmless: the
    /// request id makes it the same job.
    async fn offer(
        &self,
        submission: SubmitRequest,
        stopping: &CancellationToken,
    ) -> Result<Submitted, Failure> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let mut request = Request::new(submission.clone());
            request.set_timeout(CALL);
            let status = match self.jobs.clone().submit(request).await {
                Ok(job) => return Ok(Submitted::As(Box::new(job.into_inner()))),
                Err(status) => status,
            };
            match concern(&status) {
                Concern::Message => {
                    return Ok(Submitted::Not(Stays::Refused(Box::new(status))));
                }
                Concern::Moment if attempt < TRIES => {
                    let pause_now = pushback(&status).unwrap_or_default().max(pause);
                    tokio::select! {
                        () = stopping.cancelled() => return Ok(Submitted::Stopped),
                        () = sleep(pause_now.min(LONGEST_PAUSE)) => {}
                    }
                    pause *= 2;
                }
                Concern::Moment | Concern::Gateway => return Err(status.into()),
            }
        }
        Ok(Submitted::Stopped)
    }
}

fn crossing(metadata: &[Metadatum]) -> Vec<Metadatum> {
    metadata.iter().filter(|entry| !is_transport(&entry.key)).cloned().collect()
}

/// The new job: request, metadata and ordering key as they were, the times as
/// its route says. Its request id follows from the old job, so that after a crash
/// between submission and deletion the next replay finds the same job, and so
/// that a message that was parked twice, as can happen, is no second job.
fn submission(call: &Call, request: Bytes) -> SubmitRequest {
    // One branch of several runs again, as a gather of its own; a job of a group by itself.
    let (method, gather, branches) = match &call.membership {
        Some(of) if !of.group => {
            let rule = Some(GatherRule::default());
            (of.gather_method.clone(), rule, vec![of.branch.clone()])
        }
        _ => (call.method.clone(), None, Vec::new()),
    };
    SubmitRequest {
        method,
        gather,
        branches,
        request,
        // What earlier versions let into queues is refused today.
        metadata: crossing(&call.metadata),
        ordering_key: call.ordering_key.clone(),
        request_id: format!("replay-{}", call.job_id),
        retry_of: call.job_id.clone(),
        request_stream: call.request_stream,
        callback: call.callback.clone(),
        ..SubmitRequest::default()
    }
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Concern {
    /// This message: others may be taken.
    Message,
    /// This moment: later it may be taken.
    Moment,
    /// Everything that this gateway would be asked.
    Gateway,
}

fn concern(status: &Status) -> Concern {
    let details = status.get_error_details();
    let too_large =
        details.error_info().is_some_and(|info| info.reason == reason::PAYLOAD_TOO_LARGE);
    match status.code() {
        Code::ResourceExhausted if !too_large => Concern::Moment,
        // Also when nobody knows whether the queue took it: the same request id
        // publishes the same job again.
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Aborted
        | Code::Unknown => Concern::Moment,
        Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented => Concern::Gateway,
        _ => Concern::Message,
    }
}

/// When the gateway wants to be asked again, if it says so.
fn pushback(status: &Status) -> Option<Duration> {
    let millis = status.metadata().get(RETRY_PUSHBACK)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(millis))
}

/// So many per second, however many ask at once.
pub(super) struct Pace(Mutex<Interval>);

impl Pace {
    pub(super) fn per_second(rate: u32) -> Self {
        let mut ticks = interval(Duration::from_secs(1) / rate);
        // Time that was lost is not made up for in a burst.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(Mutex::new(ticks))
    }

    async fn turn(&self) {
        self.0.lock().await.tick().await;
    }
}

#[cfg(test)]
mod tests;

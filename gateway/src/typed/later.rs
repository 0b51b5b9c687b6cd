//! What a caller sends after its call was accepted: it goes to the stream store, from
//! where the handler's worker fetches it.

use super::whole::is_refusal;
use crate::jobs::JobsService;
use crate::oversize;
use crate::submission::too_large;
use bytes::Bytes;
use futures_util::FutureExt;
use prost::Message;
use queuebridge_proto::JobId;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::v1::{StreamChunk, StreamEnd, StreamMark};
use queuebridge_store::{Lane, PayloadStore, RECORD_BYTES, payload, stream};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Status, Streaming};

/// A chunk is closed at this size.
const CHUNK: usize = 64 * 1024;
/// How often a worker is told that the caller is still there, when nothing comes.
const HEARTBEAT: Duration = Duration::from_secs(20);
const TRIES: u32 = 4;
const BACKOFF: Duration = Duration::from_millis(200);

/// The rest of a request, on its way. Dropped before [`Later::finish`], the request is
/// broken off, unless all of it was passed on.
pub(super) struct Later {
    passed: watch::Receiver<Passed>,
    finished: CancellationToken,
    gone: DropGuard,
}

/// How far a request was passed on.
#[derive(Clone)]
enum Passed {
    Partly,
    Whole,
    /// It cannot be.
    Failed(Status),
}

impl Later {
    /// Passes on what comes, of which at most `most` bytes.
    pub(super) fn start(
        jobs: &JobsService,
        tenant: &Arc<str>,
        id: JobId,
        stream: Streaming<Bytes>,
        most: usize,
    ) -> Self {
        let (passing, passed) = watch::channel(Passed::Partly);
        let (gone, finished) = (CancellationToken::new(), CancellationToken::new());
        let (jobs, background) = (jobs.clone(), jobs.background().clone());
        let sender = Sender { jobs, tenant: tenant.clone(), id, next: 0, weight: 0, most };
        let (is_gone, is_finished) = (gone.clone(), finished.clone());
        background.spawn(async move {
            tokio::select! {
                // The job is over; what would come is for nobody.
                () = is_finished.cancelled() => {}
                () = sender.run(stream, is_gone, passing) => {}
            }
        });
        Self { passed, finished, gone: gone.drop_guard() }
    }

    /// Why the request cannot be passed on, as soon as that is so.
    pub(super) async fn failed(&self) -> Status {
        let mut passed = self.passed.clone();
        let status = {
            let failed = passed.wait_for(|passed| matches!(passed, Passed::Failed(_))).await;
            match failed.as_deref() {
                Ok(Passed::Failed(status)) => Some(status.clone()),
                _ => None,
            }
        };
        match status {
            Some(status) => status,
            None => std::future::pending().await,
        }
    }

    /// Whether the caller is not needed any more.
    pub(super) fn is_whole(&self) -> bool {
        matches!(*self.passed.borrow(), Passed::Whole)
    }

    /// The job is over.
    pub(super) fn finish(self) {
        self.finished.cancel();
        self.gone.disarm();
    }
}

struct Sender {
    jobs: JobsService,
    tenant: Arc<str>,
    id: JobId,
    next: u32,
    /// Of what was passed on so far.
    weight: usize,
    most: usize,
}

impl Sender {
    async fn run(
        mut self,
        mut stream: Streaming<Bytes>,
        gone: CancellationToken,
        passing: watch::Sender<Passed>,
    ) {
        let sent = tokio::select! {
            sent = self.pass_on(&mut stream) => sent,
            // The caller has left in the middle.
            () = gone.cancelled() => Err(None),
        };
        let Err(failure) = sent else {
            passing.send_replace(Passed::Whole);
            return;
        };
        // First, so that the caller does not learn only that its job was cancelled.
        if let Some(status) = failure {
            passing.send_replace(Passed::Failed(status));
        }
        let broken = StreamChunk { end: StreamEnd::Aborted as i32, ..StreamChunk::default() };
        // The worker learns it by its next look; one that cannot be told notices that
        // nobody is there.
        let _ = self.append(broken).await;
        self.jobs.abandon(&self.id).await;
    }

    /// Passes on all there is to the end. Fails with a status, or with nothing when the
    /// caller is gone and hears no status.
    async fn pass_on(&mut self, requests: &mut Streaming<Bytes>) -> Result<(), Option<Status>> {
        let mut heartbeat = Instant::now() + HEARTBEAT;
        loop {
            let next = tokio::select! {
                next = requests.message() => next,
                () = sleep_until(heartbeat) => {
                    self.beat().await;
                    heartbeat = Instant::now() + HEARTBEAT;
                    continue;
                }
            };
            let (mut messages, mut weight) = (Vec::new(), 0);
            let (mut end, mut failure) = (StreamEnd::Unspecified, None);
            let mut next = Some(next);
            // What has come meanwhile goes along.
            while let Some(come) = next {
                match come {
                    Ok(Some(message)) => {
                        weight += stream::weight(&message);
                        messages.push(message);
                    }
                    Ok(None) => end = StreamEnd::Closed,
                    Err(status) => {
                        let status = oversize::of_message(status);
                        failure = Some(is_refusal(&status).then_some(status));
                    }
                }
                let more = end == StreamEnd::Unspecified && failure.is_none() && weight < CHUNK;
                next = if more { requests.message().now_or_never() } else { None };
            }
            self.weight += weight;
            if self.weight > self.most {
                return Err(Some(too_large("request", "the stream is longer than it may be")));
            }
            // The handler reads what came before a message that cannot be taken.
            if end == StreamEnd::Closed || !messages.is_empty() {
                let chunk = StreamChunk { messages, end: end as i32, ..StreamChunk::default() };
                self.append(chunk).await.map_err(Some)?;
            }
            if let Some(failure) = failure {
                return Err(failure);
            }
            if end == StreamEnd::Closed {
                return Ok(());
            }
            heartbeat = Instant::now() + HEARTBEAT;
        }
    }

    async fn append(&mut self, chunk: StreamChunk) -> Result<(), Status> {
        let lookup = self.jobs.lookup();
        let chunk = match &lookup.payloads {
            Some(payloads) if chunk.encoded_len() > RECORD_BYTES => {
                let key = payload::later_key(&self.tenant, &self.id, self.next);
                placed(chunk, payloads, &key).await?
            }
            None if chunk.encoded_len() > RECORD_BYTES => {
                return Err(too_large("request", "a message is larger than may be stored"));
            }
            _ => chunk,
        };
        for attempt in 1.. {
            let now = lookup.clock.now();
            let stored =
                lookup.streams.append(&self.id, Lane::Request, self.next, chunk.clone(), now).await;
            match stored {
                Ok(()) => break,
                Err(error) if attempt >= TRIES => return Err(unstored(&error)),
                Err(_) => sleep(BACKOFF * attempt).await,
            }
        }
        self.next += 1;
        Ok(())
    }

    async fn beat(&self) {
        let lookup = self.jobs.lookup();
        let now = lookup.clock.now();
        let mark = StreamMark { taken: 0, seen_at: now.0 };
        if let Err(error) = lookup.streams.mark(&self.id, Lane::Request, mark, now).await {
            tracing::warn!(job = %self.id, %error, "an open stream could not be noted");
        }
    }
}

async fn placed(
    chunk: StreamChunk,
    payloads: &Arc<dyn PayloadStore>,
    key: &str,
) -> Result<StreamChunk, Status> {
    let mut attempt = 1;
    loop {
        match stream::placed(chunk.clone(), payloads, key).await {
            Ok(placed) => return Ok(placed),
            Err(error) if attempt >= TRIES => return Err(unstored(&error)),
            Err(_) => sleep(BACKOFF * attempt).await,
        }
        attempt += 1;
    }
}

fn unstored(error: &queuebridge_store::StoreError) -> Status {
    tracing::warn!(%error, "a part of a request could not be stored");
    let message = "a part of the request could not be stored";
    error::status(Code::Unavailable, reason::STORE_UNAVAILABLE, message)
}

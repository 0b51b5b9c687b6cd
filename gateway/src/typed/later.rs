//! What a caller sends after its call was accepted: it goes to the stream store, from
//! where the handler's worker fetches it.

use super::collect::MOST;
use crate::jobs::JobsService;
use crate::submission::too_large;
use bytes::Bytes;
use futures_util::FutureExt;
use prost::Message;
use queuebridge_proto::JobId;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::v1::{StreamChunk, StreamEnd, StreamMark};
use queuebridge_store::{Lane, RECORD_BYTES, payload, stream};
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
/// broken off.
pub(super) struct Later {
    failure: watch::Receiver<Option<Status>>,
    finished: CancellationToken,
    gone: DropGuard,
}

impl Later {
    /// Passes on what comes.
    pub(super) fn start(
        jobs: &JobsService,
        tenant: &Arc<str>,
        id: JobId,
        stream: Streaming<Bytes>,
    ) -> Self {
        let (failing, failure) = watch::channel(None);
        let (gone, finished) = (CancellationToken::new(), CancellationToken::new());
        let sender = Sender { jobs: jobs.clone(), tenant: tenant.clone(), id, next: 0, size: 0 };
        let (is_gone, is_finished) = (gone.clone(), finished.clone());
        tokio::spawn(async move {
            tokio::select! {
                // The job is over; what would come is for nobody.
                () = is_finished.cancelled() => {}
                () = sender.run(stream, is_gone, failing) => {}
            }
        });
        Self { failure, finished, gone: gone.drop_guard() }
    }

    /// Why the request cannot be passed on, as soon as that is so.
    pub(super) async fn failed(&self) -> Status {
        let mut failure = self.failure.clone();
        let failed = failure.wait_for(Option::is_some).await.ok().and_then(|status| status.clone());
        match failed {
            Some(status) => status,
            None => std::future::pending().await,
        }
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
    size: usize,
}

impl Sender {
    async fn run(
        mut self,
        mut stream: Streaming<Bytes>,
        gone: CancellationToken,
        failing: watch::Sender<Option<Status>>,
    ) {
        let sent = tokio::select! {
            sent = self.pass_on(&mut stream) => sent,
            // The caller has left in the middle.
            () = gone.cancelled() => Err(None),
        };
        let Err(failure) = sent else { return };
        let broken = StreamChunk { end: StreamEnd::Aborted as i32, ..StreamChunk::default() };
        // The worker learns it by its next look; one that cannot be told notices that
        // nobody is there.
        let _ = self.append(broken).await;
        if let Err(status) = self.jobs.cancel_job(&self.id).await {
            tracing::warn!(job = %self.id, %status, "a job whose request broke off was not cancelled");
        }
        if let Some(status) = failure {
            failing.send_replace(Some(status));
        }
    }

    /// Passes on all there is to the end. Fails with a status, or with nothing when the
    /// caller is gone and hears no status.
    async fn pass_on(&mut self, stream: &mut Streaming<Bytes>) -> Result<(), Option<Status>> {
        let mut heartbeat = Instant::now() + HEARTBEAT;
        loop {
            let next = tokio::select! {
                next = stream.message() => next,
                () = sleep_until(heartbeat) => {
                    self.beat().await;
                    heartbeat = Instant::now() + HEARTBEAT;
                    continue;
                }
            };
            let (mut messages, mut size) = (Vec::new(), 0);
            let mut end = StreamEnd::Unspecified;
            let mut next = Some(next);
            // What has come meanwhile goes along.
            while let Some(come) = next {
                match come {
                    Ok(Some(message)) => {
                        size += message.len();
                        messages.push(message);
                    }
                    Ok(None) => end = StreamEnd::Closed,
                    Err(status) if status.code() == Code::OutOfRange => {
                        return Err(Some(crate::oversize::of_message(status)));
                    }
                    Err(_) => return Err(None),
                }
                let more = end == StreamEnd::Unspecified && size < CHUNK;
                next = if more { stream.message().now_or_never() } else { None };
            }
            self.size += size;
            if self.size > MOST {
                return Err(Some(too_large("request", "a stream of more than 64 MiB")));
            }
            let chunk = StreamChunk { messages, end: end as i32, ..StreamChunk::default() };
            self.append(chunk).await.map_err(Some)?;
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
                let key = payload::request_key(&self.tenant, &self.id);
                let key = format!("{key}-{}", self.next);
                stream::placed(chunk, payloads, &key).await.map_err(|error| unstored(&error))?
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

fn unstored(error: &queuebridge_store::StoreError) -> Status {
    tracing::warn!(%error, "a part of a request could not be stored");
    let message = "a part of the request could not be stored";
    error::status(Code::Unavailable, reason::STORE_UNAVAILABLE, message)
}

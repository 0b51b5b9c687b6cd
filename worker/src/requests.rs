//! What a handler is sent: one message, or a stream of them.
//!
//! The messages of a stream that was open when its job was sent come through the stream
//! store, where the gateway puts them. A later attempt reads them again from the first.

use crate::runner::Runner;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::v1::{StreamChunk, StreamEnd};
use queuebridge_proto::{JobId, UnixMillis};
use queuebridge_store::{Clock, Lane, PayloadError, PayloadStore, StreamStore};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

/// How long one look for the next chunk waits, before it is asked whether the gateway is
/// still there.
const LOOK: Duration = Duration::from_secs(15);
/// A gateway that has not been heard of for so long is gone, and with it the caller.
/// Gateways are heard of every twenty seconds.
const GONE: Duration = Duration::from_secs(70);
/// After a look that failed.
const BACKOFF: Duration = Duration::from_secs(1);

/// The messages of one request.
pub(crate) enum Requests {
    One(Option<Bytes>),
    Several(vec::IntoIter<Bytes>),
    Open(vec::IntoIter<Bytes>, BoxStream<'static, Bytes>, Breaks),
}

impl Requests {
    /// How it may end before it is whole; `None` if all of it is here.
    pub(crate) fn breaks(&self) -> Option<Breaks> {
        match self {
            Self::One(_) | Self::Several(_) => None,
            Self::Open(.., breaks) => Some(breaks.clone()),
        }
    }
}

impl Stream for Requests {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match &mut *self {
            Self::One(message) => Poll::Ready(message.take()),
            Self::Several(messages) => Poll::Ready(messages.next()),
            Self::Open(messages, later, _) => match messages.next() {
                Some(message) => Poll::Ready(Some(message)),
                None => later.poll_next_unpin(context),
            },
        }
    }
}

/// The ways in which an open request ends before it is whole.
#[derive(Clone, Default)]
pub(crate) struct Breaks {
    /// The caller has broken it off, or nothing is heard of its gateway any more.
    pub(crate) aborted: CancellationToken,
    /// The attempt gives way to a cancellation, or is over.
    pub(crate) over: CancellationToken,
}

impl Breaks {
    /// Waits until one of them happens.
    pub(crate) async fn happened(self) {
        tokio::select! {
            () = self.aborted.cancelled() => {}
            () = self.over.cancelled() => {}
        }
    }
}

/// What a handler reads at the end of a request that is not whole. Tonic takes `CANCELLED`
/// in a request for its end, so it is another code.
pub(crate) fn broken_off() -> Status {
    let message = "the request was broken off: its caller has cancelled it, or the attempt is over";
    error::status(Code::Aborted, reason::REQUEST_BROKEN_OFF, message)
}

/// What the caller sends after the job was accepted. When it turns out that there will
/// never be a whole request, `breaks.aborted` fires and nothing more comes: a handler must
/// not take half of a stream for all of it. [`crate::parting`] then ends the request's
/// body with [`broken_off`].
pub(crate) fn later(runner: &Runner, job: JobId, breaks: Breaks) -> BoxStream<'static, Bytes> {
    let inbox = Inbox {
        streams: runner.streams.clone(),
        payloads: runner.payloads.clone(),
        clock: runner.clock,
        job,
        next: 0,
        heard: runner.clock.now(),
        closed: false,
        breaks,
    };
    let chunks = stream::unfold(inbox, async |mut inbox| {
        let messages = inbox.messages().await?;
        Some((stream::iter(messages), inbox))
    });
    chunks.flatten().boxed()
}

struct Inbox {
    streams: Arc<dyn StreamStore>,
    payloads: Option<Arc<dyn PayloadStore>>,
    clock: Clock,
    job: JobId,
    next: u32,
    heard: UnixMillis,
    closed: bool,
    breaks: Breaks,
}

impl Inbox {
    /// The messages of the next chunk; `None` once the caller has half-closed.
    async fn messages(&mut self) -> Option<Vec<Bytes>> {
        if self.closed {
            return None;
        }
        let over = self.breaks.over.clone();
        let chunk = tokio::select! {
            biased;
            () = over.cancelled() => None,
            chunk = self.chunk() => {
                let whole = chunk.filter(|chunk| chunk.end() != StreamEnd::Aborted);
                if whole.is_none() {
                    self.breaks.aborted.cancel();
                }
                whole
            }
        };
        let Some(chunk) = chunk else {
            // The body around this ends at the same moment, with an error.
            return std::future::pending().await;
        };
        self.closed = chunk.end() == StreamEnd::Closed;
        Some(chunk.messages)
    }

    /// `None` when there will be none.
    async fn chunk(&mut self) -> Option<StreamChunk> {
        loop {
            match self.streams.read(&self.job, Lane::Request, self.next, LOOK).await {
                Ok(Some(chunk)) => {
                    self.heard = self.clock.now();
                    match queuebridge_store::stream::fetched(chunk, self.payloads.as_ref()).await {
                        Ok(chunk) => {
                            self.next += 1;
                            return Some(chunk);
                        }
                        // It is there, and cannot be had at this moment.
                        Err(error @ PayloadError::Unavailable(_)) if self.payloads.is_some() => {
                            tracing::warn!(job = %self.job, %error, "a stream could not be read");
                            sleep(BACKOFF).await;
                        }
                        Err(error) => {
                            tracing::warn!(job = %self.job, %error, "a part of a request is lost");
                            return None;
                        }
                    }
                }
                Ok(None) => {
                    if let Ok(Some(mark)) = self.streams.marked(&self.job, Lane::Request).await {
                        self.heard = self.heard.max(UnixMillis(mark.seen_at));
                    }
                    if self.heard.until(self.clock.now()) > GONE {
                        tracing::warn!(job = %self.job, "the gateway of an open stream is gone");
                        return None;
                    }
                }
                Err(error) => {
                    tracing::warn!(job = %self.job, %error, "a stream could not be read");
                    sleep(BACKOFF).await;
                }
            }
        }
    }
}

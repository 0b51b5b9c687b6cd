//! What a server of HTTP/2 would see to: the end of a call's time, handlers that
//! panic, answers that are too large.

use crate::inner::{Inner, Services};
use crate::readable::readable;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::time::grpc_timeout;
use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Service, ServiceExt};

/// So much before the caller's time ends we say so: the servers around us measure
/// it, too, and would answer `CANCELLED`.
const EARLIER: Duration = Duration::from_millis(5);

/// What the host allows a call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// When the host's time ends.
    pub ends_at: Option<Instant>,
    /// The bytes of all answer messages together.
    pub response_bytes: Option<usize>,
}

/// Calls services within limits, in native gRPC.
#[derive(Clone)]
pub(crate) struct Guard<S> {
    inner: Inner<S>,
    limits: Limits,
    most: usize,
}

impl<S> Guard<S> {
    /// Messages that come compressed are at most `most` bytes large.
    pub(crate) fn new(inner: Inner<S>, limits: Limits, most: usize) -> Self {
        Self { inner, limits, most }
    }

    /// Answers with a status instead.
    pub(crate) fn refusing(self, status: Status) -> Self {
        Self { inner: Inner::Refuse(status), ..self }
    }
}

impl<S: Services> Service<Request<Body>> for Guard<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (inner, limits) = (self.inner.clone(), self.limits);
        let request = match readable(request, self.most) {
            Ok(request) => request,
            Err(status) => return Box::pin(std::future::ready(Ok(status.into_http()))),
        };
        Box::pin(async move {
            let earlier = |time: Duration| time - (time / 10).min(EARLIER);
            let asked = requested_timeout(request.headers());
            let asked = asked.map(|time| Instant::now() + earlier(time));
            let ends_at = [asked, limits.ends_at].into_iter().flatten().min();
            let call = AssertUnwindSafe(inner.oneshot(request)).catch_unwind();
            let called = match ends_at {
                Some(end) => timeout_at(end, call).await.map_err(|_| too_late()),
                None => Ok(call.await),
            };
            let response = match called {
                Ok(Ok(Ok(response))) => response,
                Ok(Err(_)) => panicked().into_http(),
                Err(late) => late.into_http(),
            };
            let body = |body| {
                Body::new(GuardedBody {
                    inner: Some(body),
                    end: ends_at.map(|end| Box::pin(sleep_until(end))),
                    limit: limits.response_bytes,
                    bytes: 0,
                })
            };
            Ok(response.map(body))
        })
    }
}

fn too_late() -> Status {
    let message = "the handler did not finish within its time";
    error::status(Code::DeadlineExceeded, reason::HANDLER_TIMED_OUT, message)
}

fn panicked() -> Status {
    tracing::error!("a handler panicked");
    let message = "the handler failed unexpectedly; its log has the detail";
    error::status(Code::Internal, reason::HANDLER_PANICKED, message)
}

fn too_large(limit: usize) -> Status {
    let message = format!("the answer is larger than the {limit} bytes that pass here");
    error::status(Code::ResourceExhausted, reason::RESPONSE_TOO_LARGE, message)
}

/// The caller's `grpc-timeout`.
fn requested_timeout(headers: &HeaderMap) -> Option<Duration> {
    grpc_timeout(headers.get("grpc-timeout")?.to_str().ok()?)
}

/// A body that ends with a status of ours when something goes wrong in it.
struct GuardedBody {
    /// None once it has ended.
    inner: Option<Body>,
    end: Option<Pin<Box<Sleep>>>,
    limit: Option<usize>,
    /// Of data, so far.
    bytes: usize,
}

impl GuardedBody {
    fn end_with(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.inner = None;
        let mut trailers = HeaderMap::new();
        // Codes, texts and details of ours are valid header values.
        let _ = status.add_header(&mut trailers);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

impl http_body::Body for GuardedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(inner).poll_frame(context)));
        let frame = match polled {
            Err(_) => return this.end_with(&panicked()),
            Ok(Poll::Ready(frame)) => frame,
            Ok(Poll::Pending) => {
                return match this.end.as_mut().map(|end| end.poll_unpin(context)) {
                    Some(Poll::Ready(())) => this.end_with(&too_late()),
                    _ => Poll::Pending,
                };
            }
        };
        if let Some(Ok(frame)) = &frame {
            this.bytes += frame.data_ref().map_or(0, Bytes::len);
        }
        if let Some(limit) = this.limit.filter(|limit| this.bytes > *limit) {
            return this.end_with(&too_large(limit));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(|inner| inner.is_end_stream())
    }
}

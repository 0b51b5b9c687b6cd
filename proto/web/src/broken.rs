//! Requests that break off: whoever reads one hears of it, and does not take it for a
//! whole one.

use crate::inner::Services;
use bytes::Bytes;
use connectrpc::{ConnectError, ErrorCode};
use futures_util::{Stream, StreamExt};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame};
use queuebridge_proto::error::{self, reason};
use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service;

/// Why a request has ended too early, if it has. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Break(Arc<OnceLock<Status>>);

impl Break {
    /// The messages up to the first that cannot be read.
    pub(crate) fn until<T: Send + 'static>(
        &self,
        messages: impl Stream<Item = Result<T, ConnectError>> + Send + 'static,
    ) -> impl Stream<Item = T> + Send + 'static {
        let broken = self.0.clone();
        messages.scan((), move |(), message| {
            ready(message.map_err(|error| broken.set(status(&error))).ok())
        })
    }

    /// Tells `services` where their requests break off.
    pub(crate) fn before<S>(self, services: S) -> Breaking<S> {
        Breaking { services, broken: self }
    }
}

/// In front of services.
#[derive(Clone)]
pub(crate) struct Breaking<S> {
    services: S,
    broken: Break,
}

impl<S: Services> Service<Request<Body>> for Breaking<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.services.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let broken = self.broken.clone();
        self.services
            .call(request.map(|body| Body::new(BreakingBody { body, broken: Some(broken) })))
    }
}

struct BreakingBody {
    body: Body,
    /// None when it was told.
    broken: Option<Break>,
}

impl HttpBody for BreakingBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(None) = polled
            && let Some(status) = self.broken.take().and_then(|broken| broken.0.get().cloned())
        {
            return Poll::Ready(Some(Err(status)));
        }
        polled
    }
}

/// What is wrong with a message is its sender's to know; of everything else the reader makes
/// what it makes of a connection that was lost.
fn status(error: &ConnectError) -> Status {
    let text = error.message.clone().unwrap_or_default();
    match error.code {
        ErrorCode::InvalidArgument => {
            error::status(Code::InvalidArgument, reason::MALFORMED_MESSAGE, text)
        }
        ErrorCode::ResourceExhausted => {
            error::status(Code::ResourceExhausted, reason::PAYLOAD_TOO_LARGE, text)
        }
        _ => Status::aborted(text),
    }
}

//! Requests that break off: whoever reads one hears of it, and does not take it for a
//! whole one.

use crate::inner::Services;
use connectrpc::{ConnectError, ErrorCode};
use futures_util::{Stream, StreamExt, stream};
use http::Request;
use http_body_util::{BodyStream, StreamBody};
use queuebridge_proto::error::{self, reason};
use std::future::ready;
use std::sync::{Arc, OnceLock};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::ServiceExt;

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
    pub(crate) fn before<S: Services>(self, services: S) -> impl Services {
        services.map_request(move |request: Request<Body>| {
            let broken = self.0.clone();
            let end = stream::once(async move { broken.get().cloned() });
            let end = end.filter_map(ready).map(Err);
            request.map(|body| Body::new(StreamBody::new(BodyStream::new(body).chain(end))))
        })
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

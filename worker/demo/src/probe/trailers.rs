//! Trailing metadata after success.
//!
//! A unary handler of tonic can attach initial metadata to its answer, and
//! trailing metadata to an error only. [`WithTrailers`] adds the rest: a handler
//! leaves [`Trailers`] in the extensions of its response, and they are sent
//! together with the status.

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;

/// Trailing metadata of a successful answer, for the extensions of a
/// [`tonic::Response`].
#[derive(Clone, Debug, Default)]
pub struct Trailers(pub MetadataMap);

/// A service that sends the [`Trailers`] of its responses.
#[derive(Clone, Debug)]
pub struct WithTrailers<S>(S);

impl<S> WithTrailers<S> {
    /// Wraps a generated server.
    pub fn new(inner: S) -> Self {
        Self(inner)
    }
}

impl<S: NamedService> NamedService for WithTrailers<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<http::Request<B>> for WithTrailers<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let response = self.0.call(request);
        Box::pin(async move {
            let mut response = response.await?;
            Ok(match response.extensions_mut().remove::<Trailers>() {
                Some(Trailers(trailers)) => response.map(|inner| {
                    Body::new(TrailedBody { inner, trailers: trailers.into_headers() })
                }),
                None => response,
            })
        })
    }
}

/// A body whose trailers get company.
struct TrailedBody {
    inner: Body,
    trailers: http::HeaderMap,
}

impl http_body::Body for TrailedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(frame)) = &mut frame
            && let Some(sent) = frame.trailers_mut()
        {
            // The status of the call is already there and is not ours to change.
            for (key, value) in std::mem::take(&mut self.trailers).iter() {
                if !sent.contains_key(key) {
                    sent.append(key, value.clone());
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

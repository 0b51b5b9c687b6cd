//! What lies behind all protocols: services, or one answer to everything.

use http::{Request, Response};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;
use tower::Service;

/// What answers native gRPC in process: tonic's `Routes`, or any other service of
/// the same shape.
pub trait Services:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Services for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

#[derive(Clone)]
pub(crate) enum Inner<S> {
    Services(S),
    Refuse(Status),
}

impl<S: Services> Service<Request<Body>> for Inner<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        match self {
            Self::Services(services) => services.poll_ready(context),
            Self::Refuse(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self {
            Self::Services(services) => Box::pin(services.call(request)),
            Self::Refuse(status) => {
                let response = status.clone().into_http();
                Box::pin(std::future::ready(Ok(response)))
            }
        }
    }
}

//! What lies behind all protocols: services, or one answer to everything.

use http::{Request, Response};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service;

#[derive(Clone)]
pub(crate) enum Inner {
    Routes(Box<Routes>),
    Refuse(Status),
}

impl Service<Request<Body>> for Inner {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        match self {
            Self::Routes(routes) => Service::<Request<Body>>::poll_ready(routes.as_mut(), context),
            Self::Refuse(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self {
            Self::Routes(routes) => Box::pin(routes.call(request)),
            Self::Refuse(status) => {
                let response = status.clone().into_http();
                Box::pin(std::future::ready(Ok(response)))
            }
        }
    }
}

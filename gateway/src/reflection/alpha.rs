//! The older name of reflection, which many clients still ask for first or alone.

use http::{Request, Uri};
use std::task::{Context, Poll};
use tonic::server::NamedService;
use tower::Service;

const OLD: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
const NEW: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// Version 1 of the service under the older name: the messages are the same, byte
/// by byte.
#[derive(Clone)]
pub(crate) struct Alpha<S>(pub(super) S);

impl<S> NamedService for Alpha<S> {
    const NAME: &'static str = "grpc.reflection.v1alpha.ServerReflection";
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Alpha<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if request.uri().path() == OLD {
            *request.uri_mut() = Uri::from_static(NEW);
        }
        self.0.call(request)
    }
}

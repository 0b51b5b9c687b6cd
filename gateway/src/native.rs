//! Native gRPC: the gateway's own services, and behind them every routed method.

use crate::config::MethodPattern;
use crate::identity::Identity;
use crate::route;
use crate::typed::Typed;
use http::{Request, Response, StatusCode, header};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service;

/// What the gateway answers itself, unless a route names the service.
const AROUND: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];
/// What it answers itself in any case.
const OWN: [&str; 3] = [
    queuebridge_proto::JOBS_SERVICE,
    queuebridge_proto::OPERATIONS_SERVICE,
    queuebridge_proto::EXECUTIONS_SERVICE,
];

/// Everything that is called at the gateway's port, whatever protocol it came by.
#[derive(Clone)]
pub(crate) struct Native {
    own: Routes,
    typed: Typed,
    routes: route::Routes,
    identity: Identity,
}

impl Native {
    pub(crate) fn new(
        own: Routes,
        typed: Typed,
        routes: route::Routes,
        identity: Identity,
    ) -> Self {
        Self { own: own.prepare(), typed, routes, identity }
    }

    fn is_own(&self, path: &str) -> bool {
        let Some((service, _)) = path.strip_prefix('/').and_then(|path| path.split_once('/'))
        else {
            return false;
        };
        if OWN.contains(&service) {
            return true;
        }
        let all = |route: &route::Route| route.config.methods == MethodPattern::All;
        AROUND.contains(&service) && self.routes.find(path).is_none_or(|route| all(route))
    }
}

impl Service<Request<Body>> for Native {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.extensions_mut().insert(self.identity.clone());
        if self.is_own(request.uri().path()) {
            return Box::pin(self.own.call(request));
        }
        if !is_grpc(&request) {
            return Box::pin(std::future::ready(Ok(not_grpc())));
        }
        let typed = self.typed.clone();
        Box::pin(async move { Ok(typed.call(request).await) })
    }
}

fn is_grpc(request: &Request<Body>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let rest = content_type.and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// What the protocol of gRPC has for other contents.
fn not_grpc() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

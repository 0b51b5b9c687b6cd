//! Native gRPC: the gateway's own services, and behind them every routed method, which
//! goes through its queue or directly to its upstream.

use crate::arriving::{Arriving, Unit};
use crate::audit;
use crate::auth::{self, Authenticator, Known, Verb};
use crate::config::{MethodPattern, UpstreamTakes};
use crate::descriptors::DescriptorRegistry;
use crate::identity::Identity;
use crate::leaving::{CallRoom, Leaving};
use crate::listener::{Lasting, Peer, UnknownCall};
use crate::oversize;
use crate::quota::Quotas;
use crate::route;
use crate::server::Settings;
use crate::typed::{Typed, refusal};
use crate::until_end::keep_until_the_end;
use crate::upstream::{Asked, NotRun};
use http::{Request, Response};
use queuebridge_proto::MethodName;
use queuebridge_web::readable;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::Status;
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
pub(crate) const OWN: [&str; 3] = [
    queuebridge_proto::JOBS_SERVICE,
    queuebridge_proto::OPERATIONS_SERVICE,
    queuebridge_proto::EXECUTIONS_SERVICE,
];

/// Whether a caller may call a method, as far as that is known before it is looked for: of
/// one that was not granted, nobody hears whether it exists and what it takes.
pub(crate) fn check_grant(caller: &Identity, path: &str) -> Result<(), Status> {
    caller.may(Verb::Submit, path).inspect_err(|status| audit::refused(caller, path, status))
}

/// Whether a path is one of a service that the gateway may answer itself.
pub(crate) fn may_be_own(path: &str) -> bool {
    let service = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    service.is_some_and(|(service, _)| OWN.contains(&service) || AROUND.contains(&service))
}

/// What is answered to everybody.
const HEALTH: &str = "/grpc.health.v1.Health/";
/// What of it is answered to callers who are let in, because it names services.
const LIST: &str = "/grpc.health.v1.Health/List";
/// What of it lasts as long as the caller likes.
const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// The largest question of a health check.
pub(crate) const HEALTH_BYTES: usize = 4096;

/// Whether a path is that of a health check that is answered to everyone.
pub(crate) fn is_health_check(path: &str) -> bool {
    path.starts_with(HEALTH) && path != LIST
}

/// The service of an Application Load Balancer's default probe, `/AWS.ALB/healthcheck`. It
/// takes `UNIMPLEMENTED` for health. Other probes of gRPC are health checks.
const PROBED: &str = "/AWS.ALB/";

/// Whether a call is a load balancer's probe, which has no credentials and is never a job.
fn is_probe(path: &str) -> bool {
    path.starts_with(PROBED)
}

/// A call that has its place already, from the protocol that it came by: an extension of
/// its request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HasPlace;

/// How long a call to a path may last if it is answered to everybody.
pub(crate) fn lasting(path: &str) -> Lasting {
    if path == WATCH { Lasting::Watch } else { Lasting::Brief }
}

/// A place among the calls of its connection whose callers are not known.
///
/// # Errors
/// `RESOURCE_EXHAUSTED`/`OVERLOADED` with the time to come back.
pub(crate) fn place_of_unknown<B>(
    request: &Request<B>,
    lasting: Lasting,
) -> Result<UnknownCall, Status> {
    let peer = request.extensions().get::<Peer>();
    peer.map(|peer| peer.unknown.clone()).unwrap_or_default().enter(lasting)
}

/// Everything that is called at the gateway's port, whatever protocol it came by.
#[derive(Clone)]
pub(crate) struct Native {
    own: Routes,
    typed: Typed,
    routes: route::Routes,
    descriptors: Arc<DescriptorRegistry>,
    auth: Authenticator,
    quotas: Quotas,
    arriving: Arriving,
    leaving: Leaving,
    /// The largest message.
    most: usize,
}

impl Native {
    pub(crate) fn new(
        own: Routes,
        typed: Typed,
        routes: route::Routes,
        settings: &Settings,
        arriving: Arriving,
        leaving: Leaving,
    ) -> Self {
        let Settings { auth, quotas, descriptors, max_message_bytes: most, .. } = settings.clone();
        let own = own.prepare();
        Self { own, typed, routes, descriptors, auth, quotas, arriving, leaving, most }
    }

    /// Whether a call goes to the upstream of its route. Of the kinds of methods only
    /// descriptors tell; a method that is in none goes to the queue, which takes streams
    /// as well.
    fn goes_direct(&self, route: &route::Route, request: &Request<Body>) -> bool {
        let Some(upstream) = &route.config.upstream else { return false };
        match upstream.takes {
            UpstreamTakes::All | UpstreamTakes::WhatItCan => true,
            UpstreamTakes::Streams => {
                let path = request.uri().path().trim_start_matches('/');
                self.descriptors.descriptors().is_streaming(path) == Some(true)
            }
        }
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

type Answered = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl Service<Request<Body>> for Native {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answered;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if is_probe(request.uri().path()) {
            return refused(&refusal::no_route());
        }
        let is_own = self.is_own(request.uri().path());
        // Load balancers have no credentials.
        if is_own && is_health_check(request.uri().path()) {
            return self.health(request);
        }
        match self.auth.known(&request) {
            Known::Now(Ok(caller)) => self.call_as(caller, is_own, request),
            Known::Now(Err(status)) => refused(&status),
            Known::Later(token) => {
                let mut services = self.clone();
                Box::pin(async move {
                    match services.auth.of_token(token).await {
                        Ok(caller) => services.call_as(caller, is_own, request).await,
                        Err(status) => refused(&status).await,
                    }
                })
            }
        }
    }
}

impl Native {
    /// A call of the gateway's own services, with messages of at most `most` bytes.
    fn own(&mut self, request: Request<Body>, most: usize) -> Answered {
        match readable(request, most) {
            Ok(request) => Box::pin(self.own.call(request)),
            Err(status) => refused(&status),
        }
    }

    /// A health check. Whoever shows good credentials for a watch has it among its own calls.
    fn health(&mut self, request: Request<Body>) -> Answered {
        if request.extensions().get::<HasPlace>().is_some() {
            return self.own(request, HEALTH_BYTES);
        }
        // Without authentication nobody has shown any.
        if lasting(request.uri().path()) == Lasting::Brief || self.auth.is_open() {
            return self.call_of_unknown(request);
        }
        match self.auth.recognized(&request) {
            Known::Now(Ok(caller)) => self.call_as(caller, true, request),
            Known::Now(Err(_)) => self.call_of_unknown(request),
            Known::Later(token) => {
                let mut services = self.clone();
                Box::pin(async move {
                    match services.auth.of_token(token).await {
                        Ok(caller) => services.call_as(caller, true, request).await,
                        Err(_) => services.call_of_unknown(request).await,
                    }
                })
            }
        }
    }

    fn call_of_unknown(&mut self, request: Request<Body>) -> Answered {
        match place_of_unknown(&request, lasting(request.uri().path())) {
            Err(status) => refused(&status),
            Ok(place) => {
                let answered = self.own(request, HEALTH_BYTES);
                Box::pin(async { Ok(keep_until_the_end(place, answered.await?)) })
            }
        }
    }

    fn call_as(&mut self, caller: Identity, is_own: bool, request: Request<Body>) -> Answered {
        if request.extensions().get::<HasPlace>().is_some() {
            return self.dispatch(caller, is_own, request);
        }
        match self.quotas.enter(&caller.tenant) {
            Err(status) => refused(&status),
            Ok(None) => self.dispatch(caller, is_own, request),
            Ok(Some(call)) => {
                let answered = self.dispatch(caller, is_own, request);
                Box::pin(async { Ok(call.until_the_end_of(answered.await?)) })
            }
        }
    }

    fn dispatch(&mut self, caller: Identity, is_own: bool, mut request: Request<Body>) -> Answered {
        if !self.auth.is_open() {
            auth::strip(request.headers_mut());
        }
        let (arriving, leaving) = (self.arriving.clone(), self.leaving.clone());
        let tenant = caller.tenant.clone();
        // For whoever reads whole messages, and loads answers.
        let within = move |unit: Unit, mut request: Request<Body>| {
            let room = leaving.enter(&tenant, &mut request);
            (request.map(|body| arriving.body(&tenant, unit, body, None)), room)
        };
        if is_own {
            let method = request.uri().path().trim_start_matches('/');
            let takes_stream = self.descriptors.descriptors().takes_stream(method) == Some(true);
            let unit = if takes_stream { Unit::stream() } else { Unit::call() };
            let (mut request, room) = within(unit, request);
            request.extensions_mut().insert(caller);
            let answered = self.own(request, self.most);
            return Box::pin(async {
                let response = answered.await.map(oversize::of_response)?;
                Ok(leave(room, response))
            });
        }
        // Grants and routes are for names; an upstream might make another one of a path.
        if MethodName::parse(request.uri().path()).is_err() {
            return refused(&refusal::no_route());
        }
        let granted = check_grant(&caller, request.uri().path());
        if let Err(status) = granted.and_then(|()| self.quotas.submit(&caller.tenant)) {
            return refused(&status);
        }
        request.extensions_mut().insert(caller);
        let route = self.routes.find(request.uri().path()).cloned();
        let mut direct = route.filter(|route| self.goes_direct(route, &request));
        if let Some((route, asked)) = direct.as_deref().zip(Asked::find(request.headers())) {
            if !(route.has_queue() && falls_back(route)) {
                return refused(&asked.refusal(route.has_queue()));
            }
            // The upstream cannot do it, so its queue does.
            direct = None;
        }
        let (typed, arriving, most) = (self.typed.clone(), self.arriving.clone(), self.most);
        let queued = async move |request| {
            let (request, room) = within(Unit::prompt(), request);
            match readable(request, most) {
                Ok(request) => leave(room, typed.call(request).await),
                Err(status) => status.into_http(),
            }
        };
        Box::pin(async move {
            let direct = direct.as_deref();
            let Some((upstream, route)) =
                direct.and_then(|route| route.upstream.as_ref().zip(Some(route)))
            else {
                return Ok(queued(request).await);
            };
            // For one that reads whole requests.
            request.extensions_mut().insert(arriving);
            Ok(match upstream.attempt(request).await {
                Ok(response) => response,
                Err(NotRun { request: Some(request), status })
                    if route.has_queue() && falls_back(route) =>
                {
                    tracing::debug!(%status, "a call goes to the queue instead");
                    queued(*request).await
                }
                Err(NotRun { status, .. }) => status.into_http(),
            })
        })
    }
}

/// Holds what is loaded for an answer until it has left. `None`: whoever translates it does.
fn leave(room: Option<CallRoom>, response: Response<Body>) -> Response<Body> {
    match room {
        Some(room) => room.answer(response),
        None => response,
    }
}

fn refused(status: &Status) -> Answered {
    Box::pin(std::future::ready(Ok(status.clone().into_http())))
}

/// Whether what the upstream cannot do goes to the queue.
fn falls_back(route: &route::Route) -> bool {
    let upstream = route.config.upstream.as_ref();
    upstream.is_some_and(|upstream| upstream.takes == UpstreamTakes::WhatItCan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_albs_default_probe_is_told_from_calls() {
        assert!(is_probe("/AWS.ALB/healthcheck"));
        for call in ["/a.B/healthcheck", "/AWS.ALBs/healthcheck", "/grpc.health.v1.Health/Check"] {
            assert!(!is_probe(call), "{call}");
        }
    }
}

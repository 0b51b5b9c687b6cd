//! Every protocol on one port: native gRPC goes straight to the services, gRPC-Web,
//! Connect and JSON are translated in front of them.

mod cors;

pub use cors::Cors;

use crate::arriving::{Arriving, Refusal, Unit};
use crate::auth::Authenticator;
use crate::descriptors::DescriptorRegistry;
use crate::leaving::Leaving;
use crate::native::{self, HEALTH, HEALTH_BYTES};
use futures_util::future::Either;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use queuebridge_proto::MethodName;
use queuebridge_web::{Limits, Protocol, Services, Web, is_native};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;
use tower::{Service, service_fn};

/// What the translation goes by.
#[derive(Default)]
pub struct Protocols {
    /// Who is let in: a translated request is read as a whole, and nobody else's is. The
    /// services ask once more. `None`: everybody.
    pub auth: Option<Authenticator>,
    /// The room for what is read.
    pub arriving: Arriving,
    /// The room for what is answered: it is held until the translation has left, of which
    /// the services see nothing.
    pub leaving: Leaving,
    /// Tells the kinds of methods, and their messages for JSON.
    pub descriptors: Arc<DescriptorRegistry>,
    /// Which pages of other origins may call. `None`: browsers let none.
    pub cors: Option<Cors>,
    /// The largest request, where it is collected here.
    pub max_request_bytes: usize,
}

/// Services that speak native gRPC, behind every protocol.
#[derive(Clone)]
pub struct Front<S> {
    services: S,
    protocols: Arc<Protocols>,
    http1_keep_alive: bool,
}

impl<S: Services> Front<S> {
    /// Puts the protocols in front of `services`.
    #[must_use]
    pub fn new(services: S, protocols: Arc<Protocols>) -> Self {
        Self { services, protocols, http1_keep_alive: true }
    }

    /// Whether a connection of HTTP/1.1 may have another request after its answer, as is
    /// usual; else the answer says that it is the last one.
    #[must_use]
    pub fn http1_keep_alive(self, http1_keep_alive: bool) -> Self {
        Self { http1_keep_alive, ..self }
    }
}

type Translated = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S: Services> Service<Request<Body>> for Front<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    // Native gRPC pays nothing for the other protocols.
    type Future = Either<S::Future, Translated>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.services.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if is_native(&request) {
            return Either::Left(self.services.call(request));
        }
        let (services, protocols) = (self.services.clone(), self.protocols.clone());
        // HTTP/2 knows no such header.
        let is_last = !self.http1_keep_alive && request.version() < Version::HTTP_2;
        Either::Right(Box::pin(async move {
            let mut response = protocols.answer(services, request, Limits::default()).await;
            if is_last {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        }))
    }
}

impl Protocols {
    /// Answers a request in its protocol.
    pub(crate) async fn answer<S: Services>(
        &self,
        services: S,
        request: Request<Body>,
        limits: Limits,
    ) -> Response<Body> {
        let web = self.web(services);
        let Some(cors) = &self.cors else { return self.let_in(web, request, limits).await };
        let service = service_fn(|request| {
            let web = web.clone();
            async move { Ok(self.let_in(web, request, limits).await) }
        });
        cors.around(request, service).await
    }

    /// Answers a request, if it is that of somebody who is let in.
    async fn let_in<S: Services>(
        &self,
        web: Web<S>,
        request: Request<Body>,
        limits: Limits,
    ) -> Response<Body> {
        let is_health = request.uri().path().starts_with(HEALTH);
        let tenant = match &self.auth {
            Some(auth) if !is_health && Protocol::of(&request).is_some() => {
                let path = request.uri().path();
                let caller = auth.identify(&request).await.and_then(|caller| {
                    // The translation would tell whether there is such a method.
                    let granted = native::may_be_own(path) || MethodName::parse(path).is_err();
                    if !granted {
                        native::check_grant(&caller, path)?;
                    }
                    Ok(caller)
                });
                match caller {
                    Ok(caller) => caller.tenant,
                    Err(status) => return web.refuse(request.map(drop), status).await,
                }
            }
            _ => Arc::from(""),
        };
        let web = if is_health { web.max_request_bytes(HEALTH_BYTES) } else { web };
        let (head, body) = request.into_parts();
        let asked = Request::from_parts(head, ());
        let refusal = Refusal::default();
        let method = asked.uri().path().trim_start_matches('/');
        let takes_stream = self.descriptors.descriptors().takes_stream(method) == Some(true);
        let arriving = if is_health { Arriving::none() } else { self.arriving.clone() };
        let body = match Unit::of_translation(&asked, takes_stream) {
            Some(unit) => arriving.body(&tenant, unit, body, Some(refusal.clone())),
            None => body,
        };
        let mut request = asked.clone().map(|()| body);
        // Where health is a route of its own, its room is that of its tenant.
        let room = if is_health { None } else { self.leaving.enter(&tenant, &mut request) };
        let response = web.call(request, limits).await;
        // The translations would say of every error of a body that it is ours.
        match refusal.get() {
            Some(status) => web.refuse(asked, status.clone()).await,
            None => match room {
                Some(room) => room.answer(response),
                None => response,
            },
        }
    }

    /// Answers a request with a status, in its protocol.
    pub(crate) async fn refuse<S: Services>(
        &self,
        services: S,
        request: Request<()>,
        status: Status,
    ) -> Response<Body> {
        let web = self.web(services);
        let Some(cors) = &self.cors else { return web.refuse(request, status).await };
        let service = service_fn(|request: Request<Body>| {
            let (web, status) = (web.clone(), status.clone());
            async move { Ok(web.refuse(request.map(drop), status).await) }
        });
        cors.around(request.map(|()| Body::empty()), service).await
    }

    fn web<S: Services>(&self, services: S) -> Web<S> {
        let descriptors = Some(self.descriptors.descriptors());
        Web::over(services, descriptors).max_request_bytes(self.max_request_bytes)
    }
}

#[cfg(test)]
mod tests;

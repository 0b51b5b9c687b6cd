//! Every protocol on one port: native gRPC goes straight to the services, gRPC-Web,
//! Connect and JSON are translated in front of them.

mod cors;

pub use cors::Cors;

use crate::arriving::{Arriving, Refusal, Unit};
use crate::auth::Authenticator;
use crate::descriptors::DescriptorRegistry;
use crate::error_size::{self, Fitted};
use crate::leaving::Leaving;
use crate::listener::{Lasting, UnknownCall};
use crate::native::{self, HEALTH_BYTES, HasPlace, lasting, place_of_unknown};
use crate::quota::{Call, Quotas};
use crate::until_end::keep_until_the_end;
use futures_util::future::Either;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use http::{Request, Response, Version};
use queuebridge_proto::MethodName;
use queuebridge_web::{Limits, Pages, Protocol, Services, TurnedAway, Web, answered, is_native};
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
    /// What one tenant may have open.
    pub quotas: Quotas,
    /// The room for what is read.
    pub arriving: Arriving,
    /// The room for what is answered: it is held until the translation has left, of which
    /// the services see nothing.
    pub leaving: Leaving,
    /// Tells the kinds of methods, and their messages for JSON.
    pub descriptors: Arc<DescriptorRegistry>,
    /// Turns away what a page may have sent, where nobody is asked for credentials. `None`:
    /// no page has any, but a certificate that its browser has.
    pub pages: Option<Pages>,
    /// Which pages of other origins may call. `None`: browsers let none.
    pub cors: Option<Cors>,
    /// The largest request, where it is collected here.
    pub max_request_bytes: usize,
}

/// The place of a translated call, until its answer is taken.
struct Place {
    _unknown: Option<UnknownCall>,
    _known: Option<Call>,
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
    type Future = Either<Fitted<S::Future>, Translated>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.services.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let judged = self.protocols.pages.as_ref().map_or(Ok(()), |pages| pages.judge(&request));
        if is_native(&request) && judged.is_ok() {
            return Either::Left(error_size::fitting(self.services.call(request)));
        }
        let (services, protocols) = (self.services.clone(), self.protocols.clone());
        // HTTP/2 knows no such header.
        let is_last = !self.http1_keep_alive && request.version() < Version::HTTP_2;
        Either::Right(Box::pin(async move {
            let answer = |request: Request<Body>| async {
                match judged {
                    Ok(()) => protocols.answer(services, request, Limits::default()).await,
                    Err(why) => protocols.turn_away(services, request.map(drop), &why).await,
                }
            };
            let mut response = answered(request, answer).await;
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
        let (head, body) = request.into_parts();
        let mut asked = Request::from_parts(head, ());
        let (tenant, place) = match self.place(&asked).await {
            Ok(found) => found,
            Err(status) => return refuse_unknown(&web, asked, status).await,
        };
        asked.extensions_mut().insert(HasPlace);
        let is_health = native::is_health_check(asked.uri().path());
        let web = if is_health { web.max_request_bytes(HEALTH_BYTES) } else { web };
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
        let response = match Protocol::of(&asked) {
            // Their errors are headers as well, or may be.
            Some(Protocol::Grpc | Protocol::GrpcWeb) => error_size::fitted(response),
            Some(Protocol::Connect) | None => response,
        };
        // The translations would say of every error of a body that it is ours.
        let response = match refusal.get() {
            Some(status) => web.refuse(asked, status.clone()).await,
            None => match room {
                Some(room) => room.answer(response),
                None => response,
            },
        };
        keep_until_the_end(place, response)
    }

    /// Whose call it is, and its place: among those of the caller's tenant, or among those
    /// of its connection that are answered to everybody.
    async fn place(&self, request: &Request<()>) -> Result<(Arc<str>, Place), Status> {
        let path = request.uri().path();
        let is_call = Protocol::of(request).is_some();
        let lasting = if is_call { lasting(path) } else { Lasting::Brief };
        let caller = match &self.auth {
            Some(auth) if is_call && !native::is_health_check(path) => {
                let caller = auth.identify(request).await?;
                // The translation would tell whether there is such a method.
                if !native::may_be_own(path) && MethodName::parse(path).is_ok() {
                    native::check_grant(&caller, path)?;
                }
                Some(caller)
            }
            // Whoever shows good credentials has a watch among its own calls.
            Some(auth) if lasting == Lasting::Watch && !auth.is_open() => {
                auth.recognize(request).await
            }
            _ => None,
        };
        let Some(caller) = caller else {
            let place = place_of_unknown(request, lasting)?;
            return Ok((Arc::from(""), Place { _unknown: Some(place), _known: None }));
        };
        let place = self.quotas.enter(&caller.tenant)?;
        Ok((caller.tenant, Place { _unknown: None, _known: place }))
    }

    /// Answers a request that a page may have sent.
    async fn turn_away<S: Services>(
        &self,
        services: S,
        request: Request<()>,
        why: &TurnedAway,
    ) -> Response<Body> {
        let place = place_of_unknown(&request, Lasting::Brief);
        unless_untaken(place, self.web(services).turn_away(request, why).await)
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

/// Refuses somebody who is not known.
async fn refuse_unknown<S: Services>(
    web: &Web<S>,
    request: Request<()>,
    status: Status,
) -> Response<Body> {
    let place = place_of_unknown(&request, Lasting::Brief);
    unless_untaken(place, web.refuse(request, status).await)
}

/// A refusal with what it has to say while it has a place, else only its head: that waits
/// for nobody.
fn unless_untaken(place: Result<UnknownCall, Status>, refusal: Response<Body>) -> Response<Body> {
    match place {
        Ok(place) => keep_until_the_end(place, refusal),
        Err(_) => {
            let mut refusal = refusal.map(|_| Body::empty());
            refusal.headers_mut().remove(CONTENT_LENGTH);
            refusal
        }
    }
}

#[cfg(test)]
mod tests;

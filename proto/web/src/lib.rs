//! gRPC-Web, Connect and JSON in front of services that speak gRPC, for clients and
//! hosts that cannot carry HTTP/2 trailers.
//!
//! [`Web::call`] takes an HTTP request and answers it, without a socket:
//!
//! | protocol | content type | unary | server streaming | client streaming, bidirectional |
//! |---|---|---|---|---|
//! | gRPC-Web, binary and text | `application/grpc-web`, `-text` (`+proto`) | yes | yes | half duplex |
//! | Connect | `application/proto`, `application/connect+proto` | yes | with descriptors | half duplex, with descriptors |
//! | Connect with JSON | `application/json`, `application/connect+json` | with descriptors | with descriptors | half duplex, with descriptors |
//! | Connect GET | `?encoding=…&message=…` | methods without side effects, with descriptors | no | no |
//! | gRPC behind a reverse bridge | `application/grpc` (`+proto`), one message, framed or not | yes, the status in the headers | no | no |
//!
//! Half duplex: the whole request is there before the answer begins. Whatever is
//! not served is refused with a status that says what to use instead, in the
//! words of the protocol that was used.

mod bridge;
mod broken;
pub mod callback_url;
mod connect;
mod content_type;
mod descriptors;
mod grpc_web;
mod guard;
pub mod health;
mod host;
mod inflate;
mod inner;
mod json;
mod linger;
mod pages;
mod pool;
mod protocol;
mod readable;
mod trailing;
mod unread;

pub use content_type::media_type;
pub use descriptors::Descriptors;
pub use guard::Limits;
pub use host::HostPattern;
pub use inflate::CameCompressed;
pub use inner::Services;
pub use linger::Linger;
pub use pages::{Pages, TurnedAway};
pub use pool::{DescriptorError, LeftOut, Pool, known_file, pool};
pub use protocol::{Protocol, is_native};
pub use readable::readable;
pub use unread::answered;

use connect::{Connect, Methods};
use connectrpc::ConnectRpcService;
use guard::Guard;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use inflate::codec;
use inner::Inner;
use std::convert::Infallible;
use std::sync::Arc;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::ServiceExt;
use trailing::Trailing;

/// The largest request in bytes, unless told otherwise: more than any of the
/// worker's hosts takes.
const MAX_REQUEST_BYTES: usize = 16 * 1024 * 1024;

/// Answers HTTP requests in several protocols by the same services.
#[derive(Clone)]
pub struct Web<S = Routes> {
    services: S,
    descriptors: Option<Arc<Descriptors>>,
    max_request_bytes: usize,
}

impl Web<Routes> {
    /// Serves `routes`. Without descriptors there is no JSON, and streams are not
    /// told from single messages.
    #[must_use]
    pub fn new(routes: Routes, descriptors: Option<Arc<Descriptors>>) -> Self {
        Self::over(routes.prepare(), descriptors)
    }
}

impl<S: Services> Web<S> {
    /// Serves anything that answers native gRPC. It is cheap: whoever's descriptors
    /// change makes a new one for each request.
    #[must_use]
    pub fn over(services: S, descriptors: Option<Arc<Descriptors>>) -> Self {
        Self { services, descriptors, max_request_bytes: MAX_REQUEST_BYTES }
    }

    /// Takes requests of at most so many bytes where they are collected here.
    /// Default: 16 MiB.
    #[must_use]
    pub fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.max_request_bytes = bytes;
        self
    }

    /// Answers one request. Panics of a handler and the end of its time become
    /// statuses; nothing is left running afterwards but the body.
    pub async fn call<B>(&self, request: Request<B>, limits: Limits) -> Response<Body>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let inner = Inner::Services(self.services.clone());
        let methods = Methods::Known(self.descriptors.clone());
        let guard = Guard::new(inner, limits, self.max_request_bytes);
        self.answer(request, guard, methods).await
    }

    /// The same on a connection that has trailers: native gRPC passes as it is.
    pub async fn serve<B>(&self, request: Request<B>, limits: Limits) -> Response<Body>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        if !is_native(&request) {
            return self.call(request, limits).await;
        }
        let guard =
            Guard::new(Inner::Services(self.services.clone()), limits, self.max_request_bytes);
        let answered = guard.oneshot(request.map(Body::new)).await;
        answered.unwrap_or_else(|never: Infallible| match never {})
    }

    /// Answers a request with a status, in the protocol of the request, and alike for every
    /// path.
    pub async fn refuse(&self, request: Request<()>, status: Status) -> Response<Body> {
        let inner = Inner::<S>::Refuse(status);
        let message = Protocol::empty_message(&request);
        let methods = Methods::Refused { stream: message.is_some() };
        let body = message.map_or(Body::empty(), |message| {
            Body::new(http_body_util::Full::new(bytes::Bytes::from_static(message)))
        });
        let request = request.map(|()| body);
        let guard = Guard::new(inner, Limits::default(), self.max_request_bytes);
        self.answer(request, guard, methods).await
    }

    /// Answers a request that [`Pages`] have turned away, in its protocol as far as that has
    /// words for it, and always by the status of HTTP.
    pub async fn turn_away(&self, request: Request<()>, why: &TurnedAway) -> Response<Body> {
        let mut response = match Protocol::of(&request) {
            _ if is_native(&request) => why.status().into_http(),
            // The library would look at more of it first.
            Some(Protocol::Connect) if request.method() == Method::GET => {
                let mut call = Request::post(request.uri().path());
                call = call.header(header::CONTENT_TYPE, "application/proto");
                self.refuse(call.body(()).unwrap_or_default(), why.status()).await
            }
            Some(_) => self.refuse(request, why.status()).await,
            None => text(StatusCode::OK, format!("{why}\n")),
        };
        *response.status_mut() = why.http_status();
        response
    }

    async fn answer<B>(
        &self,
        mut request: Request<B>,
        guard: Guard<S>,
        methods: Methods,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let most = self.max_request_bytes;
        let answered = match Protocol::of(&request) {
            Some(Protocol::GrpcWeb) => Ok(grpc_web::answer(request, guard).await),
            Some(Protocol::Connect) => {
                plain_content_type(request.headers_mut());
                let request = match is_read_by_connect(request.headers()) {
                    true => request.map(Body::new),
                    // The library would read it first, and refuse it then.
                    false => request.map(|_| Body::empty()),
                };
                let trailing = Trailing::default();
                let methods = Connect::new(guard, methods, trailing.clone());
                let limits = connectrpc::Limits::default()
                    .with_max_request_body_size(most)
                    .with_max_message_size(most);
                let service = ConnectRpcService::new(methods)
                    .with_limits(limits)
                    .with_compression(codec::registry());
                let answered = service.oneshot(request).await;
                answered.map(|response| trailing.complete(response.map(Body::new)))
            }
            Some(Protocol::Grpc) => Ok(bridge::answer(request, guard, most).await),
            None if is_health_check(&request) => Ok(text(StatusCode::OK, "ok\n")),
            None if request.method() != Method::POST => Ok(not_allowed()),
            None => Ok(text(StatusCode::UNSUPPORTED_MEDIA_TYPE, UNSUPPORTED)),
        };
        answered.unwrap_or_else(|never: Infallible| match never {})
    }
}

const UNSUPPORTED: &str = "Speak gRPC-Web (application/grpc-web, application/grpc-web-text) \
    or Connect (application/proto, application/json) here; \
    native gRPC needs a server with HTTP/2.\n";

const NOT_ALLOWED: &str = "Methods are called by POST, in Connect also by GET with the message \
    in the query.\n";

/// What load balancers ask for when they are not told otherwise, and the name
/// that containers use.
fn is_health_check<B>(request: &Request<B>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
        && matches!(request.uri().path(), "/" | "/healthz")
}

/// Whether Connect has the codec and the compression of a request.
fn is_read_by_connect(headers: &HeaderMap) -> bool {
    let codec = media_type(headers);
    let codec = codec.strip_prefix("application/connect+").unwrap_or("proto");
    let encodings = ["content-encoding", "connect-content-encoding"];
    let mut encodings = encodings.iter().filter_map(|name| headers.get(*name)?.to_str().ok());
    ["proto", "json"].contains(&codec)
        && encodings.all(|name| name == "identity" || codec::Codec::named(name).is_some())
}

/// The library reads it to the letter.
fn plain_content_type(headers: &mut HeaderMap) {
    let plain = HeaderValue::try_from(media_type(headers));
    if let (true, Ok(plain)) = (headers.contains_key(header::CONTENT_TYPE), plain) {
        headers.insert(header::CONTENT_TYPE, plain);
    }
}

/// RFC 9110, 15.5.6: the verbs that there are.
fn not_allowed() -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, NOT_ALLOWED);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

fn text(status: StatusCode, text: impl Into<bytes::Bytes>) -> Response<Body> {
    let body = http_body_util::Full::new(text.into());
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests;

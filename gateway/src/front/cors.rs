//! Calls from pages of other origins.

use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_HEADERS,
    CONTENT_TYPE, HeaderName, HeaderValue,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::time::Duration;
use tonic::body::Body;
use tower::{Layer, Service, ServiceExt};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// How long a browser may remember that it may call. Browsers cut it to their own
/// limits, the longest of which is a day and the most common two hours.
const MAX_AGE: Duration = Duration::from_secs(2 * 60 * 60);

/// The names of headers that a page may ask for, in bytes. They come back in the head of the
/// answer, which takes memory until the peer takes it.
const ASKED_HEADERS: usize = 2048;

/// What a call may end with, whether or not this one did.
const STATUS: [&str; 3] = ["grpc-status", "grpc-message", "grpc-status-details-bin"];

/// Lets browsers call from some origins. No credentials are let through: there are
/// no cookies here, and tokens are headers of the page's own.
#[derive(Clone, Debug)]
pub struct Cors(CorsLayer);

impl Cors {
    /// Lets pages of these origins call, or of all if one of them is `*`; `None` if
    /// there are none.
    #[must_use]
    pub fn new(origins: &[String]) -> Option<Self> {
        let listed = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
        let allowed = match origins {
            [] => return None,
            all if all.iter().any(|origin| origin == "*") => AllowOrigin::any(),
            _ => AllowOrigin::list(listed),
        };
        let layer = CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::POST])
            // Metadata may have any name.
            .allow_headers(AllowHeaders::mirror_request())
            .max_age(MAX_AGE);
        Some(Self(layer))
    }

    /// Answers a preflight, or what `service` answers with the headers that let the
    /// page see it.
    pub(super) async fn around<S>(&self, request: Request<Body>, service: S) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let preflight = request.method() == Method::OPTIONS;
        if preflight && asked_headers(request.headers()) > ASKED_HEADERS {
            let mut refusal = Response::new(Body::empty());
            *refusal.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return refusal;
        }
        let answered = self.0.layer(service).oneshot(request).await;
        let mut response = answered.unwrap_or_else(|never| match never {});
        if !preflight && response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            expose(response.headers_mut());
        }
        response
    }
}

fn asked_headers(headers: &HeaderMap) -> usize {
    headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter().map(HeaderValue::len).sum()
}

/// Lets the page see the status and all metadata, whose names nobody knows before;
/// `*` would not do for pages that send credentials of their own.
fn expose(headers: &mut HeaderMap) {
    let ours = |name: &&HeaderName| {
        *name == CONTENT_TYPE || name.as_str().starts_with("access-control-") || *name == "vary"
    };
    let present = headers.keys().filter(|name| !ours(name)).map(HeaderName::as_str);
    let present = present.filter(|name| !STATUS.contains(name));
    let names: Vec<&str> = STATUS.into_iter().chain(present).collect();
    if let Ok(names) = HeaderValue::from_str(&names.join(",")) {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, names);
    }
}

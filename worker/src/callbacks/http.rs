//! Calls over HTTP to strangers: guarded, limited in time, without redirects, proxies
//! and connections that are kept.

use super::guard::{FORBIDDEN, Networks, Resolver, may_be_called};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Request, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use queuebridge_proto::UnixMillis;
use queuebridge_proto::v1::NotifyRequest;
use queuebridge_proto::v1::callbacks_client::CallbacksClient;
use queuebridge_web::callback_url::{CallbackUrl, UrlError};
use std::time::Duration;
use tokio::time::timeout;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};

/// For everything together: connecting, sending, and the head of the answer.
const PATIENCE: Duration = Duration::from_secs(20);
const CONNECT: Duration = Duration::from_secs(5);

type Connector = HttpsConnector<HttpConnector<Resolver>>;

#[derive(Debug)]
pub(super) struct Http {
    networks: Networks,
    web: Client<Connector, Full<Bytes>>,
    grpc: Client<Connector, tonic::body::Body>,
}

/// What a receiver has answered.
#[derive(Debug)]
pub(super) enum Reply {
    Status {
        code: u16,
        retry_after: Option<Duration>,
    },
    /// It must not be called.
    Forbidden(String),
    /// Nothing that can be understood.
    None(String),
}

impl Http {
    pub(super) fn new(networks: Networks) -> std::io::Result<Self> {
        let mut tcp = HttpConnector::new_with_resolver(Resolver(networks.clone()));
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        let tls = || {
            let provider = rustls::crypto::ring::default_provider();
            let https = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider);
            https.map(HttpsConnectorBuilder::https_or_http)
        };
        // Each call has a connection of its own, to an address that was judged for it.
        let client = || {
            let mut builder = Client::builder(TokioExecutor::new());
            builder.pool_max_idle_per_host(0);
            builder
        };
        let web = client().build(tls()?.enable_http1().wrap_connector(tcp.clone()));
        let grpc = client().http2_only(true).build(tls()?.enable_http2().wrap_connector(tcp));
        Ok(Self { networks, web, grpc })
    }

    /// Calls a webhook.
    pub(super) async fn post(
        &self,
        url: &str,
        body: String,
        headers: &[(&'static str, String)],
        now: UnixMillis,
    ) -> Reply {
        let uri = match self.checked(CallbackUrl::parse(url)) {
            Ok(uri) => uri,
            Err(reply) => return reply,
        };
        let mut request = Request::post(uri)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, "Queuebridge");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = match request.body(Full::from(body)) {
            Ok(request) => request,
            Err(error) => return Reply::Forbidden(error.to_string()),
        };
        // The body of the answer is not read: nothing in it counts.
        match timeout(PATIENCE, self.web.request(request)).await {
            Ok(Ok(answer)) => Reply::Status {
                code: answer.status().as_u16(),
                retry_after: retry_after(answer.headers(), now),
            },
            Ok(Err(error)) => failed(&error),
            Err(_) => Reply::None("it did not answer in time".to_owned()),
        }
    }

    /// Calls `Callbacks.Notify`.
    pub(super) async fn notify(
        &self,
        url: &str,
        message: NotifyRequest,
        headers: &[(&'static str, String)],
    ) -> Reply {
        let uri = match self.checked(CallbackUrl::parse_origin(url)) {
            Ok(uri) => uri,
            Err(reply) => return reply,
        };
        let mut request = tonic::Request::new(message);
        request.set_timeout(PATIENCE);
        for (name, value) in headers {
            if let Ok(value) = AsciiMetadataValue::try_from(value) {
                request.metadata_mut().insert(*name, value);
            }
        }
        let mut client = CallbacksClient::with_origin(self.grpc.clone(), uri);
        match timeout(PATIENCE, client.notify(request)).await {
            Ok(Ok(_)) => Reply::Status { code: 200, retry_after: None },
            Ok(Err(status)) => match source_of(&status) {
                Some(forbidden) => Reply::Forbidden(forbidden.to_string()),
                None => {
                    let (code, text) = (status.code(), status.message());
                    tracing::debug!(?code, text, pushback = ?pushback(status.metadata()), "refused");
                    Reply::None(format!("it answered {code:?}: {text}"))
                }
            },
            Err(_) => Reply::None("it did not answer in time".to_owned()),
        }
    }

    /// What is sent, if the URL is one that gateways take, and its host may be called.
    fn checked(&self, url: Result<CallbackUrl, UrlError>) -> Result<Uri, Reply> {
        let url = url.map_err(|error| Reply::Forbidden(format!("expected {error}")))?;
        let uri = url.uri();
        if !may_be_called(uri.host().unwrap_or_default(), &self.networks) {
            return Err(Reply::Forbidden(FORBIDDEN.to_owned()));
        }
        Ok(uri.clone())
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Reply {
    match source_of(error) {
        Some(forbidden) => Reply::Forbidden(forbidden.to_string()),
        None => Reply::None(innermost(error)),
    }
}

/// The refusal of the resolver, if that is at the bottom of an error.
fn source_of<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a std::io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<std::io::Error>();
        if let Some(io) = io.filter(|io| io.kind() == std::io::ErrorKind::PermissionDenied) {
            return Some(io);
        }
        next = error.source();
    }
    None
}

fn innermost(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => innermost(source),
        None => error.to_string(),
    }
}

fn pushback(metadata: &MetadataMap) -> Option<&str> {
    metadata.get("grpc-retry-pushback-ms")?.to_str().ok()
}

/// `Retry-After`: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: UnixMillis) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = UnixMillis::from(httpdate::parse_http_date(text).ok()?);
    (at > now).then(|| now.until(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_may_say_when() {
        let now = UnixMillis(784_111_777_000);
        let after = |text: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            retry_after(&headers, now)
        };
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(after("Sun, 06 Nov 1994 08:40:37 GMT"), None);
        assert_eq!(after("soon"), None);
        assert_eq!(after("-1"), None);
    }
}

//! Sending to a collector through the AWS SDK's own HTTP client: no second HTTP
//! or TLS stack.

use async_trait::async_trait;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::error::display::DisplayErrorContext;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// The largest answer of a collector: it is a few bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Sends on the given runtime: who asks is a thread without one.
#[derive(Debug)]
pub(super) struct Client {
    connector: SharedHttpConnector,
    runtime: Handle,
    /// The longest one export may take. The spans of that time are kept meanwhile, up to
    /// the processor's limit.
    patience: Duration,
}

impl Client {
    /// On the current runtime. `roots` are certificates (PEM) that can be read; without
    /// them those of the system count.
    pub(super) fn new(patience: Duration, roots: Option<Vec<u8>>) -> Self {
        let trust = match roots {
            Some(pem) => TrustStore::empty().with_pem_certificate(pem),
            None => TrustStore::default(),
        };
        let mut builder = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring));
        if let Ok(context) = TlsContext::builder().with_trust_store(trust).build() {
            builder = builder.tls_context(context);
        }
        let connector = SharedHttpConnector::new(builder.build());
        Self { connector, runtime: Handle::current(), patience }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (connector, patience) = (self.connector.clone(), self.patience);
        let collector = request.uri().clone();
        // The time-out, too, can only be made on the runtime.
        let call = async move { timeout(patience, send(connector, request)).await? };
        let answer = self.runtime.spawn(call).await?;
        if let Err(error) = &answer {
            // The library says no more than that there was an error.
            let error = DisplayErrorContext(&**error);
            tracing::warn!(%collector, %error, "the collector of traces cannot be reached");
        }
        answer
    }
}

async fn send(
    connector: SharedHttpConnector,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let request = HttpRequest::try_from(request.map(SdkBody::from))?;
    let (parts, body) = connector.call(request).await?.try_into_http1x()?.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
    Ok(Response::from_parts(parts, body))
}

//! Sending to a collector through the AWS SDK's own HTTP client: no second HTTP
//! or TLS stack.

use async_trait::async_trait;
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// The longest one export may take. The spans of that time are kept meanwhile,
/// up to the processor's limit.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer of a collector: it is a few bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Sends on the given runtime: who asks is a thread without one.
#[derive(Debug)]
pub(super) struct Client {
    connector: SharedHttpConnector,
    runtime: Handle,
}

impl Client {
    /// On the current runtime.
    pub(super) fn new() -> Self {
        let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let connector = Connector::builder().tls_provider(provider).build();
        Self { connector: SharedHttpConnector::new(connector), runtime: Handle::current() }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let call = send(self.connector.clone(), request);
        // The time-out, too, can only be made on the runtime.
        self.runtime.spawn(async move { timeout(PATIENCE, call).await? }).await?
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

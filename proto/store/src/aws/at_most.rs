//! A bound for the requests that are under way at once.

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector,
    http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// `client` with at most so many requests at once. Others wait for their turn, within the
/// time-out of their attempt.
pub(super) fn at_most(requests: usize, client: SharedHttpClient) -> SharedHttpClient {
    let turns = Arc::new(Semaphore::new(requests));
    http_client_fn(move |settings, components| {
        let inner = client.http_connector(settings, components);
        SharedHttpConnector::new(InTurn { inner, turns: turns.clone() })
    })
}

#[derive(Debug)]
struct InTurn {
    inner: SharedHttpConnector,
    turns: Arc<Semaphore>,
}

impl HttpConnector for InTurn {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (inner, turns) = (self.inner.clone(), self.turns.clone());
        HttpConnectorFuture::new(async move {
            // Nobody closes it.
            let _turn = turns.acquire_owned().await;
            inner.call(request).await
        })
    }
}

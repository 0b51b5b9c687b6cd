//! How the services of an upstream are, as it says itself.
//!
//! Health checks are answered to everyone, so the upstream is asked by the gateway, once for
//! all who want to know, and only while there are such.

use super::Upstream;
use http::{Request, Response};
use queuebridge_proto::health::HealthCheckRequest;
use queuebridge_proto::health::health_check_response::ServingStatus;
use queuebridge_proto::health::health_client::HealthClient;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::Code;
use tonic::body::Body;
use tower::service_fn;

/// The time between two questions.
const AGAIN: Duration = Duration::from_secs(5);
/// A server that answers later than this does not serve.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many services are asked for; of others the gateway's own status is told.
const MOST: usize = 256;

/// The services that are asked for now. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct UpstreamHealth(Arc<Mutex<HashMap<String, watch::Sender<Option<ServingStatus>>>>>);

impl UpstreamHealth {
    /// The status of a service at its upstream, which is `None` until that has answered for
    /// the first time. A function has no status of its own.
    pub(crate) fn follow(
        &self,
        upstream: &Upstream,
        service: &str,
    ) -> Option<watch::Receiver<Option<ServingStatus>>> {
        if matches!(upstream, Upstream::Lambda(_)) {
            return None;
        }
        let mut asked = self.lock();
        if let Some(known) = asked.get(service) {
            return Some(known.subscribe());
        }
        if asked.len() >= MOST {
            return None;
        }
        let (sender, receiver) = watch::channel(None);
        asked.insert(service.to_owned(), sender.clone());
        tokio::spawn(self.clone().keep(upstream.clone(), service.to_owned(), sender));
        Some(receiver)
    }

    /// Asks until there is no one left who wants to know.
    async fn keep(
        self,
        upstream: Upstream,
        service: String,
        sender: watch::Sender<Option<ServingStatus>>,
    ) {
        loop {
            let status = Some(ask(&upstream, &service).await);
            sender.send_if_modified(|last| std::mem::replace(last, status) != status);
            sleep(AGAIN).await;
            let mut asked = self.lock();
            if sender.receiver_count() == 0 {
                asked.remove(&service);
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Option<ServingStatus>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the upstream says of a service. One that does not tell, and answers, serves.
async fn ask(upstream: &Upstream, service: &str) -> ServingStatus {
    let server = service_fn(|request: Request<Body>| {
        let upstream = upstream.clone();
        async move { Ok::<Response<Body>, Infallible>(upstream.call(request).await) }
    });
    let mut client = HealthClient::new(server);
    let mut request = tonic::Request::new(HealthCheckRequest { service: service.to_owned() });
    request.set_timeout(PATIENCE);
    match timeout(PATIENCE, client.check(request)).await {
        Ok(Ok(answer)) => match answer.get_ref().status() {
            ServingStatus::Unknown => ServingStatus::Serving,
            status => status,
        },
        Ok(Err(status)) => match status.code() {
            Code::Unavailable | Code::DeadlineExceeded => ServingStatus::NotServing,
            _ => ServingStatus::Serving,
        },
        Err(_) => ServingStatus::NotServing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::CircuitBreaker;
    use crate::upstream::grpc::GrpcServer;
    use http::Extensions;
    use queuebridge_web::health::{self, Followed, Statuses};
    use std::net::SocketAddr;
    use tokio::net::TcpListener;
    use tonic::transport::Server;
    use tonic::transport::server::TcpIncoming;

    /// Knows one service, and serves or does not.
    struct One(watch::Receiver<bool>);

    impl Statuses for One {
        fn find(&self, service: &str) -> Option<Followed> {
            (service == "a.Known").then(|| Followed::server(self.0.clone()))
        }

        fn names(&self, _caller: &Extensions) -> Vec<String> {
            Vec::new()
        }
    }

    fn upstream(address: SocketAddr) -> Upstream {
        let url = format!("http://{address}").parse().unwrap();
        Upstream::Grpc(Arc::new(GrpcServer::new(&url, 1, CircuitBreaker::default()).unwrap()))
    }

    async fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn an_upstream_tells_how_it_is_and_one_that_only_answers_serves() {
        let (serving, server) = watch::channel(true);
        let (listener, address) = listen().await;
        let router = Server::builder().add_service(health::service(One(server)));
        tokio::spawn(router.serve_with_incoming(TcpIncoming::from(listener)));
        let one = upstream(address);
        assert_eq!(ask(&one, "a.Known").await, ServingStatus::Serving);
        assert_eq!(ask(&one, "a.Other").await, ServingStatus::Serving);
        let all = UpstreamHealth::default();
        let mut followed = all.follow(&one, "a.Known").unwrap();
        assert_eq!(*followed.borrow_and_update(), None);
        followed.changed().await.unwrap();
        assert_eq!(*followed.borrow(), Some(ServingStatus::Serving));
        let again = all.follow(&one, "a.Known").unwrap();
        assert_eq!(*again.borrow(), Some(ServingStatus::Serving), "it is asked once for all");
        serving.send_replace(false);
        assert_eq!(ask(&one, "a.Known").await, ServingStatus::NotServing);

        let (listener, address) = listen().await;
        let router = Server::builder().add_routes(tonic::service::Routes::default());
        tokio::spawn(router.serve_with_incoming(TcpIncoming::from(listener)));
        assert_eq!(ask(&upstream(address), "a.Known").await, ServingStatus::Serving);
        let (listener, address) = listen().await;
        drop(listener);
        assert_eq!(ask(&upstream(address), "a.Known").await, ServingStatus::NotServing);
    }
}

//! Real servers on real sockets: the demo services, and an upstream before them.

use http::{Request, Response};
use queuebridge_demo::v1::probe_client::ProbeClient;
use queuebridge_gateway::upstream::grpc::GrpcServer;
use queuebridge_gateway::upstream::{CircuitBreaker, Upstream};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tonic::body::Body;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tower::Service;

/// A server on a runtime of its own, with which it ends at once: with all its
/// connections, as if its machine were switched off.
pub(super) struct Upright {
    pub(super) address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Upright {
    /// Serves on a free port.
    pub(super) fn new<S>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
    {
        Self::at(([127, 0, 0, 1], 0).into(), service)
    }

    /// Serves on this port.
    pub(super) fn at<S>(address: SocketAddr, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
    {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            Server::builder().serve_with_incoming(service, incoming).await.unwrap();
        });
        Self { address, runtime: Some(runtime) }
    }

    /// Ends it.
    pub(super) fn kill(self) {}

    pub(super) async fn client(&self) -> ProbeClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        let channel = endpoint.connect().await.unwrap();
        ProbeClient::new(channel).max_decoding_message_size(usize::MAX)
    }
}

impl Drop for Upright {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// An upstream, served.
pub(super) struct House {
    front: Upright,
}

impl House {
    pub(super) fn before(upstream: Upstream) -> Self {
        let front = Upright::new(tower::service_fn(move |request| {
            let upstream = upstream.clone();
            async move { Ok::<_, Infallible>(upstream.call(request).await) }
        }));
        Self { front }
    }

    /// Before the demo services, which are served as well.
    pub(super) fn new() -> (Self, Upright) {
        let server = Upright::new(queuebridge_demo::routes().prepare());
        (Self::before(to(server.address)), server)
    }

    pub(super) async fn client(&self) -> ProbeClient<Channel> {
        self.front.client().await
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.front.address
    }
}

/// An upstream over one connection that is tried again without a pause.
pub(super) fn to(address: SocketAddr) -> Upstream {
    patient(address, CircuitBreaker::new(u32::MAX, Duration::ZERO))
}

pub(super) fn patient(address: SocketAddr, breaker: CircuitBreaker) -> Upstream {
    let url = format!("http://{address}").parse().unwrap();
    Upstream::Grpc(Arc::new(GrpcServer::new(&url, 1, breaker).unwrap()))
}

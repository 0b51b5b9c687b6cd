//! The worker as a plain gRPC server: all kinds of streaming, and beside it
//! gRPC-Web and Connect on the same port.

use super::connection::Connection;
use bytes::Bytes;
use futures_util::TryStreamExt;
use http::header::CONTENT_TYPE;
use http::{Extensions, Request, Response};
use queuebridge_web::health::{self, Followed, Statuses};
use queuebridge_web::{Descriptors, HostPattern, Limits, Pages, Web, answered};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status};
use tower::{Service, ServiceExt, layer::layer_fn};

/// Connections that say nothing are probed after this time, which is shorter
/// than the idle time-outs of common load balancers (60 s).
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

const HEALTH: &str = "/grpc.health.v1.Health/Check";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const REFLECTION_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// Why a server could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The server failed.
    #[error("the server failed: {}", with_sources(.0))]
    Transport(#[from] tonic::transport::Error),
    /// The owner's descriptors cannot be served.
    #[error("reflection cannot be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// The error and all that it comes from: its own text may say no more than "transport error".
fn with_sources(error: &(dyn std::error::Error + 'static)) -> String {
    let errors = std::iter::successors(Some(error), |error| error.source());
    errors.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What a server is told besides its services.
#[derive(Clone)]
pub struct ServerSettings {
    /// How long a shutdown waits for the calls in hand.
    pub drain_timeout: Duration,
    /// Serialized `FileDescriptorSet`s, for reflection.
    pub descriptor_sets: Vec<&'static [u8]>,
    /// The same, read: for JSON, streams of Connect, and health.
    pub descriptors: Option<Arc<Descriptors>>,
    /// The names that the server answers to, beside addresses and `localhost`: nobody is
    /// asked for credentials, and a page could point another name here.
    pub hosts: Vec<HostPattern>,
}

/// Listens on an address; port 0 lets the system choose.
///
/// # Errors
/// [`ServeError::Listen`].
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let failed = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    // With port 0 the system chose one: say which.
    tracing::info!(address = %listener.local_addr().unwrap_or(address), "listening");
    Ok(listener)
}

/// Serves until `shutdown`, then finishes what is in hand, for at most the drain
/// time-out. Handlers find no [`JobContext`](crate::JobContext).
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(
    routes: Routes,
    listener: TcpListener,
    settings: ServerSettings,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let (serving, server) = watch::channel(true);
    let services = settings.descriptors.as_ref().map(|known| known.services()).unwrap_or_default();
    let health_service = health::service(WorkerStatuses { serving: server, services });
    // What the owner has brought along goes before ours.
    let (owners, mut routes) = (routes.clone(), routes);
    if !serves(&owners, HEALTH).await {
        routes = routes.add_service(health_service);
    }
    if !settings.descriptor_sets.is_empty() {
        if !serves(&owners, REFLECTION).await {
            routes = routes.add_service(reflection(&settings)?.build_v1()?);
        }
        if !serves(&owners, REFLECTION_ALPHA).await {
            routes = routes.add_service(reflection(&settings)?.build_v1alpha()?);
        }
    }
    let descriptors = settings.descriptors.clone();
    let pages = Pages::new(&settings.hosts, &[]);
    let draining = CancellationToken::new();
    let server = tonic::transport::Server::builder()
        .accept_http1(true)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .layer(layer_fn(move |routes| Front {
            web: Web::new(routes, descriptors.clone()),
            pages: pages.clone(),
        }))
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)).map_ok(Connection::new),
            draining.clone().cancelled_owned(),
        );
    let drain = async {
        shutdown.await;
        tracing::info!("the server is draining");
        serving.send_replace(false);
        draining.cancel();
        tokio::time::sleep(settings.drain_timeout).await;
    };
    tokio::select! {
        served = server => served?,
        () = drain => tracing::warn!("the drain time-out ended calls in hand"),
    }
    Ok(())
}

/// The services that health checks ask for: those that are described.
struct WorkerStatuses {
    serving: watch::Receiver<bool>,
    services: Vec<String>,
}

impl Statuses for WorkerStatuses {
    fn find(&self, service: &str) -> Option<Followed> {
        let known = service.is_empty() || self.services.iter().any(|known| known == service);
        known.then(|| Followed::server(self.serving.clone()))
    }

    fn names(&self, _caller: &Extensions) -> Vec<String> {
        std::iter::once(String::new()).chain(self.services.iter().cloned()).collect()
    }
}

/// Whether there is such a method: a call without a message gets no further than that.
async fn serves(routes: &Routes, method: &'static str) -> bool {
    let call = Request::post(method).header(CONTENT_TYPE, "application/grpc");
    let Ok(call) = call.body(Body::empty()) else { return false };
    match routes.clone().oneshot(call).await {
        Ok(answer) => Status::from_header_map(answer.headers())
            .is_none_or(|status| status.code() != Code::Unimplemented),
        Err(never) => match never {},
    }
}

fn reflection(
    settings: &ServerSettings,
) -> Result<tonic_reflection::server::Builder<'static>, ServeError> {
    let mut builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(queuebridge_proto::HEALTH_FILE_DESCRIPTOR_SET)
        // Details of errors, which tools show by what reflection says of them.
        .register_encoded_file_descriptor_set(queuebridge_proto::KNOWN_TYPES);
    for set in &settings.descriptor_sets {
        builder = builder.register_encoded_file_descriptor_set(set);
    }
    Ok(builder)
}

/// All protocols on one port.
#[derive(Clone)]
struct Front {
    web: Web,
    pages: Pages,
}

impl<B> Service<Request<B>> for Front
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let judged = self.pages.judge(&request);
        let web = self.web.clone();
        Box::pin(async move {
            let answer = |request: Request<Body>| async {
                match judged {
                    Ok(()) => web.serve(request, Limits::default()).await,
                    Err(why) => web.turn_away(request.map(drop), &why).await,
                }
            };
            Ok(answered(request, answer).await)
        })
    }
}

//! The embedded stack around a service that a test writes, called over a real socket.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, Stream, StreamExt};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use queuebridge_gateway::config::CallConfig;
use queuebridge_local::{LocalError, Stack};
use queuebridge_proto::raw::RawCodec;
use queuebridge_proto::v1::jobs_client::JobsClient;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

/// Ends what hangs. Nothing here takes that long, not even on a machine with other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);
/// The one method of a [`Script`].
pub(crate) const RUN: &str = "/test.Script/Run";

pub(crate) type Answers = BoxStream<'static, Result<Bytes, Status>>;
type Answer = BoxFuture<'static, Result<Response<Answers>, Status>>;
type Handler = Arc<dyn Fn(Request<Streaming<Bytes>>) -> Answer + Send + Sync>;

/// A service whose methods all do what a test says, on bytes.
#[derive(Clone)]
pub(crate) struct Script(Handler);

impl Script {
    pub(crate) fn new<F>(
        handler: impl Fn(Request<Streaming<Bytes>>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Response<Answers>, Status>> + Send + 'static,
    {
        Self(Arc::new(move |request| Box::pin(handler(request))))
    }
}

impl NamedService for Script {
    const NAME: &'static str = "test.Script";
}

impl tower::Service<http::Request<Body>> for Script {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let handler = self.0.clone();
        Box::pin(async move {
            let call = tower::service_fn(move |request| handler(request));
            Ok(tonic::server::Grpc::new(RawCodec).streaming(call, request).await)
        })
    }
}

/// A stack that ends with the test.
pub(crate) struct World {
    pub(crate) channel: Channel,
    pub(crate) address: SocketAddr,
    _stop: DropGuard,
    _running: JoinHandle<Result<(), LocalError>>,
}

impl World {
    pub(crate) async fn demo() -> Self {
        Self::of(queuebridge_demo::routes(), CallConfig::default()).await
    }

    pub(crate) async fn script(script: Script, calls: CallConfig) -> Self {
        Self::of(Routes::new(script), calls).await
    }

    pub(crate) async fn of(routes: Routes, calls: CallConfig) -> Self {
        // A cancellation is noticed within a third of the lease; the whole outlasts a stall.
        let lease = Duration::from_secs(6);
        Self::with(routes, Stack { calls, lease, ..Stack::default() }).await
    }

    pub(crate) async fn with(routes: Routes, stack: Stack) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let running = stack.serve_on(listener, routes, stop.clone().cancelled_owned());
        let running = tokio::spawn(running);
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let channel = endpoint.connect_lazy();
        Self { channel, address, _stop: stop.drop_guard(), _running: running }
    }

    pub(crate) fn jobs(&self) -> JobsClient<Channel> {
        JobsClient::new(self.channel.clone())
    }

    /// Calls `method` with bytes.
    pub(crate) async fn call(
        &self,
        method: &'static str,
        request: Request<impl Stream<Item = Bytes> + Send + 'static>,
    ) -> Result<Response<Streaming<Bytes>>, Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static(method);
        grpc.streaming(request, path, RawCodec).await
    }

    /// The same by a client that leaves deadlines to the server.
    pub(crate) async fn patient_call(
        &self,
        request: Request<impl Stream<Item = Bytes> + Send + 'static>,
    ) -> Result<Response<Streaming<Bytes>>, Status> {
        let http = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Body>();
        let origin = http::Uri::try_from(format!("http://{}", self.address)).unwrap();
        let mut grpc = Grpc::with_origin(http, origin);
        grpc.streaming(request, http::uri::PathAndQuery::from_static(RUN), RawCodec).await
    }

    /// Calls [`RUN`] with one message.
    pub(crate) async fn run(
        &self,
        message: &'static str,
    ) -> Result<Response<Streaming<Bytes>>, Status> {
        self.call(RUN, Request::new(one(message))).await
    }
}

/// A request of one message.
pub(crate) fn one(message: &'static str) -> impl Stream<Item = Bytes> + Send + 'static {
    tokio_stream::once(Bytes::from_static(message.as_bytes()))
}

/// An answer of these messages.
pub(crate) fn messages<const N: usize>(messages: [&'static str; N]) -> Answers {
    let messages = messages.map(|text| Ok(Bytes::from_static(text.as_bytes())));
    futures_util::stream::iter(messages).boxed()
}

/// All messages as text, and how the stream ended.
pub(crate) async fn read(mut stream: Streaming<Bytes>) -> (Vec<String>, Result<(), Status>) {
    let mut all = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(message)) => all.push(String::from_utf8(message.to_vec()).unwrap()),
            Ok(None) => return (all, Ok(())),
            Err(status) => return (all, Err(status)),
        }
    }
}

/// The reason of a status of ours.
pub(crate) fn reason(status: &Status) -> String {
    use tonic_types::StatusExt;
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

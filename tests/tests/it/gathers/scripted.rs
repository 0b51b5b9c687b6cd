//! A service that does for each branch what a test has written down for it.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use queuebridge_proto::raw::RawCodec;
use queuebridge_worker::JobContext;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::sleep;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// What a branch does when it is called.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Answer(Vec<u8>),
    Fail(Status),
    /// Takes so long, and then answers.
    After(Duration, Vec<u8>),
}

/// The acts by branch; without one it answers with its own name.
#[derive(Clone, Default)]
pub(crate) struct Script {
    acts: Arc<Mutex<HashMap<String, Act>>>,
    /// Branch, method and request of every call.
    calls: Arc<Mutex<Vec<(String, String, Bytes)>>>,
}

impl Script {
    pub(crate) fn set(&self, branch: &str, act: Act) {
        self.acts.lock().unwrap().insert(branch.to_owned(), act);
    }

    /// How often a branch was called.
    pub(crate) fn calls_of(&self, branch: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|(called, ..)| called == branch).count()
    }

    /// Whether a branch was called with this request.
    pub(crate) fn was_called(&self, branch: &str, request: &[u8]) -> bool {
        let calls = self.calls.lock().unwrap();
        calls.iter().any(|(called, _, with)| called == branch && with == request)
    }

    pub(crate) fn methods(&self) -> Vec<(String, String)> {
        let calls = self.calls.lock().unwrap();
        calls.iter().map(|(branch, method, _)| (branch.clone(), method.clone())).collect()
    }

    pub(crate) fn routes(&self) -> Routes {
        Routes::new(Service(self.clone()))
    }
}

#[derive(Clone)]
struct Service(Script);

impl NamedService for Service {
    const NAME: &'static str = "test.Branches";
}

impl tower::Service<http::Request<Body>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = request.uri().path().to_owned();
        let call = Call { script: self.0.clone(), method };
        Box::pin(async move { Ok(Grpc::new(RawCodec).unary(call, request).await) })
    }
}

struct Call {
    script: Script,
    method: String,
}

impl UnaryService<Bytes> for Call {
    type Response = Bytes;
    type Future = BoxFuture<'static, Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let context = request.extensions().get::<JobContext>();
        let branch = context.and_then(|context| context.branch.clone());
        let branch = branch.unwrap_or_default().to_string();
        let call = (branch.clone(), self.method.clone(), request.into_inner());
        self.script.calls.lock().unwrap().push(call);
        let act = self.script.acts.lock().unwrap().get(&branch).cloned();
        Box::pin(async move {
            match act.unwrap_or_else(|| Act::Answer(branch.into_bytes())) {
                Act::Answer(bytes) => Ok(Response::new(bytes.into())),
                Act::Fail(status) => Err(status),
                Act::After(pause, bytes) => {
                    sleep(pause).await;
                    Ok(Response::new(bytes.into()))
                }
            }
        })
    }
}

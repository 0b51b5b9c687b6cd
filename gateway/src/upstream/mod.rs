//! Calling a service directly, without a queue: a gRPC server, or a Lambda
//! function that is invoked synchronously.
//!
//! [`Upstream::call`] takes a call in native gRPC and answers it in native gRPC.
//! [`Upstream::attempt`] is for routes that have a queue as well: it tells the
//! calls that certainly nobody has run from all others.

mod breaker;
mod controls;
mod deadline;
pub mod grpc;
pub(crate) mod health;
mod http_status;
pub mod lambda;

pub use breaker::CircuitBreaker;

use crate::config::UpstreamTarget;
use aws_config::SdkConfig;
pub(crate) use controls::Asked;
use grpc::{DialError, GrpcServer};
use http::{Request, Response};
use lambda::Function;
use std::sync::Arc;
use tonic::Status;
use tonic::body::Body;

/// Where calls go directly.
#[derive(Clone)]
pub enum Upstream {
    /// A gRPC server.
    Grpc(Arc<GrpcServer>),
    /// A Lambda function.
    Lambda(Arc<Function>),
}

/// A call that nobody has run, for certain: it can go elsewhere.
#[derive(Debug)]
pub struct NotRun {
    /// What to answer when it goes nowhere.
    pub status: Status,
    /// The call as it came, if nothing of it was used up.
    pub request: Option<Box<Request<Body>>>,
}

impl NotRun {
    fn new(status: Status, request: Option<Request<Body>>) -> Self {
        Self { status, request: request.map(Box::new) }
    }
}

impl Upstream {
    /// The upstream at `target`; a function is invoked with what `sdk` says.
    ///
    /// # Errors
    /// When it cannot be used on this machine.
    pub fn new(target: &UpstreamTarget, sdk: &SdkConfig) -> Result<Self, DialError> {
        match target {
            UpstreamTarget::Grpc { url, connections, trust } => {
                let breaker = CircuitBreaker::default();
                let server = GrpcServer::trusting(trust, url, *connections, breaker)?;
                Ok(Self::Grpc(Arc::new(server)))
            }
            UpstreamTarget::Lambda { function } => {
                Ok(Self::Lambda(Arc::new(Function::new(function.clone(), sdk))))
            }
        }
    }

    /// Calls the upstream. Whatever goes wrong is a status in the answer.
    pub async fn call(&self, request: Request<Body>) -> Response<Body> {
        self.attempt(request).await.unwrap_or_else(|not_run| not_run.status.into_http())
    }

    /// Calls the upstream, and says apart what it has certainly not run: no
    /// connection could be made, or several have failed just now and none is tried
    /// for a moment ([`CircuitBreaker`]); the server has refused the call before it
    /// looked at it (`REFUSED_STREAM`, `GOAWAY`).
    ///
    /// A status is never certain, not even `UNAVAILABLE` without any message:
    /// handlers, and proxies before them, answer so half-way.
    ///
    /// # Errors
    /// The call and its status, when nobody has run it.
    pub async fn attempt(&self, request: Request<Body>) -> Result<Response<Body>, NotRun> {
        match self {
            Self::Grpc(server) => server.attempt(request).await,
            Self::Lambda(function) => function.attempt(request).await,
        }
    }
}

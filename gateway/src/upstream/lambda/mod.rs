//! A Lambda function as an upstream, invoked synchronously.
//!
//! The worker kit serves HTTP events; a call becomes one, and its answer becomes
//! native gRPC again. So the whole request is there before the function begins, and
//! the whole answer before the caller gets any: unary calls, and streams of either
//! side, but no conversation. Lambda knows no deadline and no cancellation of the
//! caller: `grpc-timeout` reaches the function, whose worker keeps it, and a function
//! whose caller has gone runs to its end.

mod answer;
mod collect;
mod event;
mod failure;

use super::deadline::Deadline;
use super::{CircuitBreaker, NotRun};
use crate::arriving::{Arriving, Unit};
use crate::identity::Identity;
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::Builder;
use aws_sdk_lambda::primitives::Blob;
use failure::Failure;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body_util::Full;
use queuebridge_proto::error::{self, reason};
use std::time::Duration;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};

/// A connection within a Region is made in milliseconds.
const CONNECT: Duration = Duration::from_secs(2);
/// The longest that a function runs, and something to spare: an answer that comes later was
/// lost on the way.
const LONGEST: Duration = Duration::from_secs(15 * 60 + 5);

/// A function, by its name or ARN.
pub struct Function {
    client: Client,
    name: String,
    breaker: CircuitBreaker,
}

impl Function {
    /// The function with this name or ARN. The SDK's retries are turned off: after a
    /// lost answer the function may have run. So are its time-outs but the longest: a
    /// function may take 15 minutes, and the caller's deadline is kept here.
    #[must_use]
    pub fn new(name: String, sdk: &SdkConfig) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .disable_read_timeout()
            .disable_operation_attempt_timeout()
            .operation_timeout(LONGEST)
            .build();
        let config = Builder::from(sdk)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Self { client: Client::from_conf(config), name, breaker: CircuitBreaker::default() }
    }

    /// Invokes it; see [`super::Upstream::attempt`].
    pub(super) async fn attempt(&self, request: Request<Body>) -> Result<Response<Body>, NotRun> {
        let mut deadline = Deadline::of(request.headers());
        if let Some(left) = self.breaker.open_for(Instant::now()) {
            let message = "the Invoke API could not be reached several times in a row";
            let (code, reason) = (Code::Unavailable, reason::UPSTREAM_UNAVAILABLE);
            let status = error::retry_after(code, reason, message, left);
            return Err(NotRun::new(status, Some(request)));
        }
        let (parts, body) = request.into_parts();
        let body = match (parts.extensions.get::<Arriving>(), parts.extensions.get::<Identity>()) {
            (Some(arriving), Some(caller)) => {
                arriving.body(&caller.tenant, Unit::Request(0), body, None)
            }
            _ => body,
        };
        let body = match deadline.bound(collect::whole(body)).await {
            Ok(Ok(body)) => body,
            Ok(Err(status)) | Err(status) => return Ok(status.into_http()),
        };
        let document = match event::of(&parts, &body) {
            Ok(document) if document.len() > collect::DOCUMENT => {
                return Ok(collect::too_large(body.len()).into_http());
            }
            Ok(document) => document,
            Err(error) => return Ok(Status::internal(error.to_string()).into_http()),
        };
        let content_type = parts.headers.get(CONTENT_TYPE).cloned();
        match deadline.bound(self.invoke(document)).await {
            Ok(Ok(document)) => {
                let answer = answer::of(&document, content_type);
                Ok(answer.unwrap_or_else(Status::into_http))
            }
            Ok(Err(Failure::NotRun(status))) => {
                let again = Request::from_parts(parts, Body::new(Full::new(body)));
                Err(NotRun::new(status, Some(again)))
            }
            Ok(Err(Failure::MayHaveRun(status))) | Err(status) => Ok(status.into_http()),
        }
    }

    async fn invoke(&self, document: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let call = self.client.invoke().function_name(&self.name).payload(Blob::new(document));
        let answer = match call.send().await {
            Ok(answer) => answer,
            Err(error) => {
                match failure::is_unreachable(&error) {
                    true => self.breaker.failed(Instant::now()),
                    false => self.breaker.succeeded(),
                }
                return Err(failure::of_call(&error));
            }
        };
        self.breaker.succeeded();
        let failed = answer.function_error.is_some();
        let document = answer.payload.map(Blob::into_inner).unwrap_or_default();
        match failed {
            true => Err(Failure::MayHaveRun(failure::of_function(&document))),
            false => Ok(document),
        }
    }
}

//! `grpc.testing.TestService`, after the published descriptions of its features.

use crate::compression::Flags;
use crate::echo::{self, Echo};
use crate::testing::test_service_server::TestService;
use crate::testing::{
    Empty, Payload, SimpleRequest, SimpleResponse, StreamingInputCallRequest,
    StreamingInputCallResponse, StreamingOutputCallRequest,
};
use crate::{payload, streams};
use queuebridge_store::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};

const NANOS_PER_MILLI: u64 = 1_000_000;

/// The service. Clones share what makes the answers to `CacheableUnaryCall` differ.
#[derive(Clone, Debug)]
pub struct Interop {
    clock: Clock,
    answers: Arc<AtomicU64>,
}

impl Interop {
    /// A service that tells the time of this clock.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, answers: Arc::default() }
    }

    /// A time that was never told before: where the clock's digits end, a counter
    /// goes on, because a cache is recognised by its telling the same time twice.
    fn timestamp(&self) -> String {
        let count = self.answers.fetch_add(1, Ordering::Relaxed) % NANOS_PER_MILLI;
        (self.clock.now().0 * NANOS_PER_MILLI + count).to_string()
    }
}

#[tonic::async_trait]
impl TestService for Interop {
    type StreamingOutputCallStream = streams::Answers;
    type FullDuplexCallStream = streams::Answers;
    type HalfDuplexCallStream = streams::Answers;

    async fn empty_call(&self, request: Request<Empty>) -> Result<Response<Empty>, Status> {
        Echo::of(&request).onto(Ok(Response::new(Empty {})))
    }

    async fn unary_call(
        &self,
        request: Request<SimpleRequest>,
    ) -> Result<Response<SimpleResponse>, Status> {
        let (echo, flags) = (Echo::of(&request), Flags::of(&request));
        echo.onto(simple(&request.into_inner(), &flags))
    }

    async fn cacheable_unary_call(
        &self,
        request: Request<SimpleRequest>,
    ) -> Result<Response<SimpleResponse>, Status> {
        let body = self.timestamp().into_bytes().into();
        let payload = Some(Payload { body, ..Payload::default() });
        let mut response = Response::new(SimpleResponse { payload, ..SimpleResponse::default() });
        let keep = MetadataValue::from_static("max-age=60, public");
        response.metadata_mut().insert("cache-control", keep);
        Echo::of(&request).onto(Ok(response))
    }

    async fn streaming_output_call(
        &self,
        request: Request<StreamingOutputCallRequest>,
    ) -> Result<Response<streams::Answers>, Status> {
        let echo = Echo::of(&request);
        echo.onto(Ok(Response::new(streams::output(request.into_inner()))))
    }

    async fn streaming_input_call(
        &self,
        request: Request<Streaming<StreamingInputCallRequest>>,
    ) -> Result<Response<StreamingInputCallResponse>, Status> {
        let (echo, flags) = (Echo::of(&request), Flags::of(&request));
        echo.onto(streams::input(request.into_inner(), &flags).await.map(Response::new))
    }

    async fn full_duplex_call(
        &self,
        request: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Result<Response<streams::Answers>, Status> {
        let echo = Echo::of(&request);
        echo.onto(Ok(Response::new(streams::full_duplex(request.into_inner()))))
    }

    async fn half_duplex_call(
        &self,
        request: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Result<Response<streams::Answers>, Status> {
        let echo = Echo::of(&request);
        echo.onto(Ok(Response::new(streams::half_duplex(request.into_inner()))))
    }

    async fn unimplemented_call(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        Err(Status::unimplemented("this method is there to be missing"))
    }
}

fn simple(request: &SimpleRequest, flags: &Flags) -> Result<Response<SimpleResponse>, Status> {
    flags.check(request.expect_compressed)?;
    echo::status(request.response_status.as_ref())?;
    let payload = Some(payload::zeros(request.response_type, request.response_size)?);
    let mut response = Response::new(SimpleResponse { payload, ..SimpleResponse::default() });
    // Every message would be compressed otherwise, whatever the caller has asked for.
    if !request.response_compressed.is_some_and(|wanted| wanted.value) {
        response.disable_compression();
    }
    Ok(response)
}

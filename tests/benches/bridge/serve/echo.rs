//! The bare tonic service that the bridge is compared with.

use queuebridge_demo::v1;
use queuebridge_demo::v1::probe_server::Probe;
use std::iter::Map;
use std::ops::RangeInclusive;
use tonic::{Request, Response, Status, Streaming};

/// Returns the payload, or counts, and that is all.
pub(super) struct BareEcho;

/// The numbers, without a box around them.
type Numbers = Map<RangeInclusive<u32>, fn(u32) -> Result<v1::CountResponse, Status>>;

type Answer<T> = Result<Response<T>, Status>;

fn absent<T>() -> Answer<T> {
    Err(Status::unimplemented("only Echo and Count are measured"))
}

#[tonic::async_trait]
impl Probe for BareEcho {
    type CountStream = tokio_stream::Iter<Numbers>;
    type ChatStream = tokio_stream::Empty<Result<v1::ChatResponse, Status>>;

    async fn count(&self, request: Request<v1::CountRequest>) -> Answer<Self::CountStream> {
        let numbers: Numbers =
            (1..=request.get_ref().up_to).map(|number| Ok(v1::CountResponse { number }));
        Ok(Response::new(tokio_stream::iter(numbers)))
    }

    async fn sum(&self, _: Request<Streaming<v1::SumRequest>>) -> Answer<v1::SumResponse> {
        absent()
    }

    async fn chat(&self, _: Request<Streaming<v1::ChatRequest>>) -> Answer<Self::ChatStream> {
        absent()
    }

    async fn echo(&self, request: Request<v1::EchoRequest>) -> Answer<v1::EchoResponse> {
        Ok(Response::new(v1::EchoResponse { payload: request.into_inner().payload }))
    }

    async fn fail(&self, _: Request<v1::FailRequest>) -> Answer<v1::FailResponse> {
        absent()
    }

    async fn panic(&self, _: Request<v1::PanicRequest>) -> Answer<v1::PanicResponse> {
        absent()
    }

    async fn sleep(&self, _: Request<v1::SleepRequest>) -> Answer<v1::SleepResponse> {
        absent()
    }

    async fn flaky(&self, _: Request<v1::FlakyRequest>) -> Answer<v1::FlakyResponse> {
        absent()
    }

    async fn next(&self, _: Request<v1::NextRequest>) -> Answer<v1::NextResponse> {
        absent()
    }

    async fn report(&self, _: Request<v1::ReportRequest>) -> Answer<v1::ReportResponse> {
        absent()
    }

    async fn append(&self, _: Request<v1::AppendRequest>) -> Answer<v1::AppendResponse> {
        absent()
    }
}

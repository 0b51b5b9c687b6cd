//! `queuebridge.demo.v1.Probe`: one method for each thing that a bridge has to
//! carry.

mod append;
mod flaky;
mod reporting;
mod streams;
#[cfg(test)]
mod tests;
pub mod trailers;
mod waiting;
mod wishes;

use crate::refusal::{self, reason};
use crate::v1;
use crate::v1::probe_server::{self, ProbeServer};
use queuebridge_worker::JobContext;
use std::path::PathBuf;
use std::sync::Arc;
use tonic::metadata::{KeyAndValueRef, MetadataMap, MetadataValue};
use tonic::{Code, Request, Response, Status, Streaming};
use trailers::{Trailers, WithTrailers};

/// The longest answer to `Echo` in bytes that can be asked for.
pub const MAX_ECHO_BYTES: u32 = 128_000_000;

const MAX_MESSAGE_BYTES: usize = 65_536;
/// An echo, and a little around it.
const LARGEST: usize = 129_000_000;
const MAX_PANIC_BYTES: usize = 1_024;
const MAX_REASON_BYTES: usize = 63;
const ECHOED_PREFIX: &str = "x-";

/// The service. Clones share what `Flaky` counts.
#[derive(Clone, Debug)]
pub struct Probe {
    directory: Option<PathBuf>,
    flaky: Arc<flaky::Calls>,
}

impl Probe {
    /// A service whose `Append` writes directly below `directory`, or refuses
    /// when there is none.
    #[must_use]
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self { directory, flaky: Arc::default() }
    }

    /// The service as it is added to routes: with the demo's message limits, and
    /// with trailing metadata after success, which handlers of tonic cannot send
    /// by themselves.
    #[must_use]
    pub fn into_service(self) -> WithTrailers<ProbeServer<Self>> {
        WithTrailers::new(
            ProbeServer::new(self)
                .max_decoding_message_size(LARGEST)
                .max_encoding_message_size(LARGEST),
        )
    }
}

#[tonic::async_trait]
impl probe_server::Probe for Probe {
    type CountStream = streams::Answers<v1::CountResponse>;
    type ChatStream = streams::Answers<v1::ChatResponse>;

    async fn echo(
        &self,
        request: Request<v1::EchoRequest>,
    ) -> Result<Response<v1::EchoResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        if request.response_bytes > MAX_ECHO_BYTES {
            let rule = format!("expected at most {MAX_ECHO_BYTES} bytes");
            return Err(refusal::invalid_field("response_bytes", rule));
        }
        waiting::wait("delay", request.delay).await?;
        let payload = match request.response_bytes as usize {
            0 => request.payload,
            length if request.payload.is_empty() => vec![0; length].into(),
            length => request.payload.iter().copied().cycle().take(length).collect(),
        };
        let mut response = Response::new(v1::EchoResponse { payload });
        *response.metadata_mut() = echoed(&metadata);
        response.extensions_mut().insert(Trailers(probe_trailers()));
        Ok(response)
    }

    async fn fail(
        &self,
        request: Request<v1::FailRequest>,
    ) -> Result<Response<v1::FailResponse>, Status> {
        let request = request.into_inner();
        if !(1..=16).contains(&request.code) {
            return Err(refusal::invalid_field("code", "expected a status code from 1 to 16"));
        }
        at_most("message", &request.message, MAX_MESSAGE_BYTES)?;
        at_most("reason", &request.reason, MAX_REASON_BYTES)?;
        let reason = match request.reason.as_str() {
            "" => reason::PROBE_FAILED,
            reason => reason,
        };
        let mut status = refusal::status(Code::from_i32(request.code), reason, request.message);
        *status.metadata_mut() = probe_trailers();
        Err(status)
    }

    async fn panic(
        &self,
        request: Request<v1::PanicRequest>,
    ) -> Result<Response<v1::PanicResponse>, Status> {
        let message = request.into_inner().message;
        at_most("message", &message, MAX_PANIC_BYTES)?;
        panic!("{message}");
    }

    async fn sleep(
        &self,
        request: Request<v1::SleepRequest>,
    ) -> Result<Response<v1::SleepResponse>, Status> {
        let slept = waiting::wait("duration", request.into_inner().duration).await?;
        let slept = prost_types::Duration::try_from(slept).ok();
        Ok(Response::new(v1::SleepResponse { slept }))
    }

    async fn flaky(
        &self,
        request: Request<v1::FlakyRequest>,
    ) -> Result<Response<v1::FlakyResponse>, Status> {
        let request = request.into_inner();
        let calls = self.flaky.count(request.key)?;
        if calls <= request.failures {
            let message = format!("call {calls} of {} that fail", request.failures);
            return Err(refusal::status(Code::Unavailable, reason::PROBE_FLAKY, message));
        }
        Ok(Response::new(v1::FlakyResponse { calls }))
    }

    async fn next(
        &self,
        request: Request<v1::NextRequest>,
    ) -> Result<Response<v1::NextResponse>, Status> {
        let context = request.extensions().get::<JobContext>().cloned();
        let request = request.into_inner();
        let after = waiting::checked_up_to("after", request.after, wishes::LONGEST)?;
        let calls = self.flaky.count(request.key.clone())?;
        if calls <= request.times {
            return Err(wishes::say(request.wish(), after, calls, request.times));
        }
        let attempt = context.as_ref().map_or(0, |context| context.attempt);
        let retry_of = context.and_then(|context| context.retry_of);
        let retry_of = retry_of.map(|id| id.to_string()).unwrap_or_default();
        Ok(Response::new(v1::NextResponse { calls, attempt, retry_of }))
    }

    async fn report(
        &self,
        request: Request<v1::ReportRequest>,
    ) -> Result<Response<v1::ReportResponse>, Status> {
        let context = request.extensions().get::<JobContext>().cloned();
        let request = request.into_inner();
        let step = waiting::checked("step", request.step)?;
        reporting::work(context, request.steps, step).await.map(Response::new)
    }

    async fn count(
        &self,
        request: Request<v1::CountRequest>,
    ) -> Result<Response<Self::CountStream>, Status> {
        streams::count(request.get_ref()).map(Response::new)
    }

    async fn sum(
        &self,
        request: Request<Streaming<v1::SumRequest>>,
    ) -> Result<Response<v1::SumResponse>, Status> {
        streams::sum(request.into_inner()).await.map(Response::new)
    }

    async fn chat(
        &self,
        request: Request<Streaming<v1::ChatRequest>>,
    ) -> Result<Response<Self::ChatStream>, Status> {
        Ok(Response::new(streams::chat(request.into_inner())))
    }

    async fn append(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendResponse>, Status> {
        let request = request.into_inner();
        let wait = waiting::checked("then_wait", request.then_wait)?;
        let target = append::Target::of(self.directory.as_deref(), &request.file)?;
        target.append(&request.line).await?;
        tokio::time::sleep(wait).await;
        Ok(Response::new(v1::AppendResponse {}))
    }
}

fn at_most(field: &str, text: &str, limit: usize) -> Result<(), Status> {
    if text.len() > limit {
        return Err(refusal::invalid_field(field, format!("expected at most {limit} bytes")));
    }
    Ok(())
}

fn echoed(received: &MetadataMap) -> MetadataMap {
    let mut echoed = MetadataMap::new();
    for entry in received.iter() {
        match entry {
            KeyAndValueRef::Ascii(key, value)
                if key.as_str().starts_with(ECHOED_PREFIX) || key.as_str() == "traceparent" =>
            {
                echoed.append(key.clone(), value.clone());
            }
            KeyAndValueRef::Binary(key, value) if key.as_str().starts_with(ECHOED_PREFIX) => {
                echoed.append_bin(key.clone(), value.clone());
            }
            _ => {}
        }
    }
    echoed
}

fn probe_trailers() -> MetadataMap {
    let mut trailers = MetadataMap::new();
    trailers.insert("probe-trailer", MetadataValue::from_static("done"));
    trailers.insert_bin("probe-trailer-bin", MetadataValue::from_bytes(&[0x00, 0xff]));
    trailers
}

//! Streams of messages, in, out and both.

use crate::compression::Flags;
use crate::testing::{
    ResponseParameters, StreamingInputCallRequest, StreamingInputCallResponse,
    StreamingOutputCallRequest, StreamingOutputCallResponse,
};
use crate::{echo, payload};
use futures_util::stream::{self, Stream, StreamExt};
use std::pin::Pin;
use std::time::Duration;
use tonic::{Status, Streaming};

/// Answers as they come. The first error is the last thing that tonic takes from
/// it: nothing that was sent after a request for a status is read.
pub(crate) type Answers =
    Pin<Box<dyn Stream<Item = Result<StreamingOutputCallResponse, Status>> + Send>>;

/// # Errors
/// Those of the stream, and `INVALID_ARGUMENT` for a message that was to be
/// compressed and was not.
pub(crate) async fn input(
    mut requests: Streaming<StreamingInputCallRequest>,
    flags: &Flags,
) -> Result<StreamingInputCallResponse, Status> {
    let mut sum = StreamingInputCallResponse::default();
    while let Some(request) = requests.message().await? {
        flags.check(request.expect_compressed)?;
        let size = request.payload.map_or(0, |payload| payload.body.len());
        let size = i32::try_from(size).unwrap_or(i32::MAX);
        sum.aggregated_payload_size = sum.aggregated_payload_size.saturating_add(size);
    }
    Ok(sum)
}

pub(crate) fn output(request: StreamingOutputCallRequest) -> Answers {
    Box::pin(answers(Ok(request)))
}

pub(crate) fn full_duplex(requests: Streaming<StreamingOutputCallRequest>) -> Answers {
    Box::pin(requests.flat_map(answers))
}

/// The stream waits for the requests, not the call: initial metadata comes at once.
pub(crate) fn half_duplex(requests: Streaming<StreamingOutputCallRequest>) -> Answers {
    let all = stream::once(requests.collect::<Vec<_>>());
    Box::pin(all.flat_map(stream::iter).flat_map(answers))
}

/// The answers to one request, each when it is asked for and has been waited for.
fn answers(
    request: Result<StreamingOutputCallRequest, Status>,
) -> impl Stream<Item = Result<StreamingOutputCallResponse, Status>> + Send {
    let (kind, wanted) = match request.and_then(wanted) {
        Ok((kind, parameters)) => (kind, parameters.into_iter().map(Ok).collect()),
        Err(status) => (0, vec![Err(status)]),
    };
    stream::iter(wanted).then(move |parameters| async move { answer(kind, &parameters?).await })
}

fn wanted(request: StreamingOutputCallRequest) -> Result<(i32, Vec<ResponseParameters>), Status> {
    echo::status(request.response_status.as_ref())?;
    Ok((request.response_type, request.response_parameters))
}

async fn answer(
    kind: i32,
    parameters: &ResponseParameters,
) -> Result<StreamingOutputCallResponse, Status> {
    let payload = Some(payload::zeros(kind, parameters.size)?);
    // A negative interval is over already.
    let micros = u64::try_from(parameters.interval_us).unwrap_or_default();
    if micros > 0 {
        tokio::time::sleep(Duration::from_micros(micros)).await;
    }
    Ok(StreamingOutputCallResponse { payload })
}

//! Streams of messages, in, out and both.

use super::waiting;
use crate::refusal;
use crate::v1;
use std::pin::Pin;
use tokio_stream::{Stream, StreamExt, iter};
use tonic::{Status, Streaming};

/// Answers as they come.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

const MAX_COUNT: u32 = 100_000;

/// # Errors
///
/// `INVALID_ARGUMENT` for too many numbers, or a pause that is none.
pub(super) fn count(request: &v1::CountRequest) -> Result<Answers<v1::CountResponse>, Status> {
    if request.up_to > MAX_COUNT {
        return Err(refusal::invalid_field("up_to", format!("expected at most {MAX_COUNT}")));
    }
    let pause = waiting::checked("pause", request.pause)?;
    let numbers = iter(1..=request.up_to).then(move |number| async move {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        Ok(v1::CountResponse { number })
    });
    Ok(Box::pin(numbers))
}

/// # Errors
///
/// Those of the stream.
pub(super) async fn sum(
    mut requests: Streaming<v1::SumRequest>,
) -> Result<v1::SumResponse, Status> {
    let mut all = v1::SumResponse::default();
    while let Some(request) = requests.message().await? {
        all.sum = all.sum.saturating_add(request.number);
        all.numbers = all.numbers.saturating_add(1);
    }
    Ok(all)
}

pub(super) fn chat(requests: Streaming<v1::ChatRequest>) -> Answers<v1::ChatResponse> {
    let mut number = 0;
    Box::pin(requests.map(move |request| {
        number += 1;
        Ok(v1::ChatResponse { payload: request?.payload, number })
    }))
}

//! Submissions as they come. Each goes on whether acknowledgements are read or not: a reader
//! who takes nothing holds up nobody but itself, because what waits for it holds nothing that
//! others need.

use super::item::{Items, Pace};
use crate::oversize;
use crate::reading::Item;
use futures_util::stream::{self, BoxStream, StreamExt};
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::v1::{SubmitRequest, SubmitResult};
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Status, Streaming};

/// Submissions of one stream that are under way, or not acknowledged, at once.
const AT_ONCE: u32 = 256;

/// What became of one, with all that it holds until it is handed on; or why no more are taken.
type Told = Result<(SubmitResult, Item, OwnedSemaphorePermit), Status>;

/// Takes submissions until their stream ends or the gateway shuts down, and acknowledges each.
pub(super) fn acknowledged(
    items: Items,
    requests: Streaming<SubmitRequest>,
) -> BoxStream<'static, Result<SubmitResult, Status>> {
    let (tell, told) = unbounded_channel();
    let background = items.service.background().clone();
    background.spawn(take(items, requests, tell));
    let next = async |mut told: UnboundedReceiver<Told>| {
        let result = told.recv().await?.map(|(result, _item, _place)| result);
        Some((result, told))
    };
    stream::unfold(told, next).boxed()
}

async fn take(items: Items, mut requests: Streaming<SubmitRequest>, tell: UnboundedSender<Told>) {
    let places = Arc::new(Semaphore::new(AT_ONCE as usize));
    let draining = items.service.draining().clone();
    let mut index = 0;
    let end = loop {
        // One waits to be admitted, and the rest is not read meanwhile.
        let next = async {
            let place = places.clone().acquire_owned().await.ok()?;
            let request = match requests.message().await {
                Ok(request) => request?,
                Err(status) => return Some(Err(oversize::of_message(status))),
            };
            let admitted = items.admit(Pace::Slowed, &request).await;
            Some(Ok((place, request, admitted)))
        };
        let next = tokio::select! {
            // Whoever has gone leaves places for others, which are not to be taken.
            biased;
            () = tell.closed() => return,
            () = draining.cancelled() => break drained(),
            next = next => next,
        };
        let (place, request, admitted) = match next {
            Some(Ok(next)) => next,
            Some(Err(status)) => break status,
            None => return,
        };
        let (items, tell) = (items.clone(), tell.clone());
        let background = items.service.background().clone();
        background.spawn(async move {
            let (result, item) = items.submit(index, admitted, request, None).await;
            // Nobody may be there any more.
            let _ = tell.send(Ok((result, item, place)));
        });
        index += 1;
    };
    // Those in hand are acknowledged first.
    let all = places.acquire_many(AT_ONCE);
    tokio::select! {
        () = tell.closed() => {}
        _ = all => {
            let _ = tell.send(Err(end));
        }
    }
}

fn drained() -> Status {
    let message = "the gateway is shutting down; what was not acknowledged was not taken";
    error::status(Code::Unavailable, reason::DRAINING, message)
}

//! Requests that break off.
//!
//! Tonic takes a stream that its client has reset for one that has ended: a handler that
//! runs in the same process is dropped at that moment anyway. Here the request would go
//! on through the queue as if it were whole.

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;

/// Whether the gateway itself has ended the request. What a connection says has no details.
pub(super) fn is_refusal(status: &Status) -> bool {
    !status.details().is_empty()
}

/// A body whose breaking off is an error for everyone.
pub(super) struct Whole(pub(super) Body);

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.0).poll_frame(context);
        frame.map_err(|status| match is_refusal(&status) {
            true => status,
            // Any code but CANCELLED, which is the one that is overlooked.
            false => Status::aborted("the caller broke the request off"),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

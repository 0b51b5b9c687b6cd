//! The body of an answer, and its pieces, which give room back.

use super::CallRoom;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::Status;
use tonic::body::Body;

pub(super) struct LeavingBody {
    body: Body,
    room: CallRoom,
}

impl LeavingBody {
    pub(super) fn new(body: Body, room: CallRoom) -> Self {
        Self { body, room }
    }
}

impl HttpBody for LeavingBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(match polled {
            Some(Ok(frame)) if frame.is_data() => {
                Some(Ok(frame.map_data(|data| self.room.leave(data))))
            }
            end => {
                self.room.end();
                end
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for LeavingBody {
    fn drop(&mut self) {
        // Of an answer that nobody reads any more.
        self.body = Body::empty();
        self.room.end();
    }
}

/// The part of the room that a piece of the answer has taken along.
pub(super) struct PartOfRoom {
    pub(super) bytes: usize,
    pub(super) room: CallRoom,
}

impl Drop for PartOfRoom {
    fn drop(&mut self) {
        self.room.left(self.bytes);
    }
}

//! What a call holds until the last byte of its answer.

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::body::Body;

/// Keeps `held` until the peer has taken the answer, or the answer is dropped. An answer
/// without a body waits for nobody.
pub(crate) fn keep_until_the_end<T>(held: T, response: Response<Body>) -> Response<Body>
where
    T: Send + Unpin + 'static,
{
    if response.body().is_end_stream() {
        return response;
    }
    response.map(|body| Body::new(UntilEnd { body, last: Bytes::new(), _held: held }))
}

struct UntilEnd<T> {
    body: Body,
    /// The last byte of a piece, which is one by itself: a server of HTTP/2 takes a piece as
    /// soon as there is room for its first byte, keeps the rest, and asks for what follows.
    /// So it does not get to the end before there was room for all.
    last: Bytes,
    _held: T,
}

impl<T: Unpin> HttpBody for UntilEnd<T> {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        if !this.last.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.last)))));
        }
        let polled = ready!(Pin::new(&mut this.body).poll_frame(context));
        Poll::Ready(polled.map(|frame| {
            Ok(frame?.map_data(|mut piece| {
                if piece.len() > 1 {
                    this.last = piece.split_off(piece.len() - 1);
                }
                piece
            }))
        }))
    }

    /// Never before it was asked for more: a server drops a body as soon as that says so, with
    /// its last bytes still waiting.
    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, last) = (self.body.size_hint(), self.last.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + last);
        rest.upper().into_iter().for_each(|upper| hint.set_upper(upper + last));
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};
    use std::sync::Arc;

    #[tokio::test]
    async fn the_last_piece_is_not_the_end() {
        let held = Arc::new(());
        let answer = Response::new(Body::new(Full::new(Bytes::from_static(b"answer"))));
        let mut answer = keep_until_the_end(held.clone(), answer);
        assert_eq!(answer.body().size_hint().exact(), Some(6));
        for (piece, rest) in [(&b"answe"[..], 1), (b"r", 0)] {
            let frame = answer.body_mut().frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), piece);
            assert_eq!(answer.body().size_hint().exact(), Some(rest));
            assert!(!answer.body().is_end_stream() && Arc::strong_count(&held) == 2);
        }
        assert!(answer.body_mut().frame().await.is_none());
        drop(answer);
        assert_eq!(Arc::strong_count(&held), 1);
        let empty = keep_until_the_end(held.clone(), Response::new(Body::empty()));
        assert!(empty.body().is_end_stream() && Arc::strong_count(&held) == 1);
    }
}

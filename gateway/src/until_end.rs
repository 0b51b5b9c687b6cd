//! What a call holds until the last byte of its answer.
//!
//! The end of a body would be too early: a server of HTTP/2 takes a piece as soon as there is
//! room for its first byte, keeps the rest, and is done with the body when it has the last
//! piece. So what is held goes along with the pieces, and each keeps it until its buffer is
//! freed: when it is sent, or the call is reset, or the connection is gone.

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tonic::body::Body;

/// Keeps `held` until the peer has taken the answer, or the answer is dropped. An answer
/// without a body waits for nobody.
pub(crate) fn keep_until_the_end<T>(held: T, response: Response<Body>) -> Response<Body>
where
    T: Send + Sync + 'static,
{
    if response.body().is_end_stream() {
        return response;
    }
    response.map(|body| Body::new(UntilEnd { body, held: Arc::new(held) }))
}

/// The same bytes, which keep `held` until the last of their owners drops them.
pub(crate) fn keep_with(data: Bytes, held: impl Send + 'static) -> Bytes {
    Bytes::from_owner(Piece { data, _held: held })
}

struct UntilEnd<T> {
    body: Body,
    held: Arc<T>,
}

impl<T: Send + Sync + 'static> HttpBody for UntilEnd<T> {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(context));
        let with_held = |data| keep_with(data, self.held.clone());
        Poll::Ready(polled.map(|frame| frame.map(|frame| frame.map_data(with_held))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// In this order they are dropped.
struct Piece<T> {
    data: Bytes,
    _held: T,
}

impl<T> AsRef<[u8]> for Piece<T> {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};

    #[tokio::test]
    async fn what_is_held_goes_along_with_whole_pieces() {
        let held = Arc::new(());
        let is_held = || Arc::strong_count(&held) == 2;
        let answer = Response::new(Body::new(Full::new(Bytes::from_static(b"answer"))));
        let mut answer = keep_until_the_end(held.clone(), answer);
        assert_eq!(answer.body().size_hint().exact(), Some(6));
        let frame = answer.body_mut().frame().await.unwrap().unwrap();
        let mut piece = frame.into_data().unwrap();
        assert_eq!(piece, b"answer"[..]);
        // As a server does that has all of it, and a peer that takes it byte by byte.
        assert!(answer.body().is_end_stream());
        drop(answer);
        for _ in 0..5 {
            drop(piece.split_to(1));
            assert!(is_held());
        }
        drop(piece);
        assert!(!is_held());
    }

    #[test]
    fn without_pieces_it_is_held_until_the_end_of_the_body() {
        let held = Arc::new(());
        let silent = http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<Frame<Bytes>, tonic::Status>,
        >());
        let answer = keep_until_the_end(held.clone(), Response::new(Body::new(silent)));
        assert_eq!(Arc::strong_count(&held), 2);
        drop(answer);
        assert_eq!(Arc::strong_count(&held), 1);
        let empty = keep_until_the_end(held.clone(), Response::new(Body::empty()));
        assert!(empty.body().is_end_stream() && Arc::strong_count(&held) == 1);
    }
}

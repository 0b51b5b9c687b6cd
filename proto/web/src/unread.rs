//! Requests of HTTP/1.1 that are answered before they have been read.
//!
//! The next request of a connection comes behind the body of this one, so what is left of it
//! is read, if that is little; else the connection ends with the answer, which says so
//! (RFC 9112, 9.3 and 9.6).

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;

/// So many bytes are read to keep a connection, as many as Go's server reads.
const MOST: usize = 256 * 1024;
/// They must come within this time: the answer waits for them.
const TIME: Duration = Duration::from_millis(500);

/// Answers a request, and sees to what is left of it. Those of HTTP/2 have a stream of their
/// own, and are only answered.
pub async fn answered<B, F>(
    request: Request<B>,
    answer: impl FnOnce(Request<Body>) -> F,
) -> Response<Body>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
    F: Future<Output = Response<Body>>,
{
    let request = request.map(Body::new);
    if request.version() >= Version::HTTP_2 || request.body().is_end_stream() {
        return answer(request).await;
    }
    let announced = Announced::of(request.headers());
    let left = Left::default();
    let mut response = answer(request.map(|body| Body::new(Lent::new(body, left.clone())))).await;
    if let Some((body, is_begun)) = left.take()
        && !(announced.is_little(is_begun) && is_read(body).await)
    {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What the head says of the body.
struct Announced {
    length: Option<usize>,
    /// It comes when it is asked for: reading would ask.
    waits: bool,
}

impl Announced {
    fn of(headers: &HeaderMap) -> Self {
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        Self {
            length: length.and_then(|length| length.parse().ok()),
            waits: headers.contains_key(EXPECT),
        }
    }

    fn is_little(&self, is_begun: bool) -> bool {
        self.length.is_none_or(|length| length <= MOST) && (is_begun || !self.waits)
    }
}

/// Whether a body has come to its end.
async fn is_read(mut body: Body) -> bool {
    let all = async {
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > MOST {
                return false;
            }
        }
        true
    };
    timeout(TIME, all).await.unwrap_or(false)
}

/// The body that was dropped before its end, and whether its reading had begun.
#[derive(Clone, Default)]
struct Left(Arc<Mutex<Option<(Body, bool)>>>);

impl Left {
    fn take(&self) -> Option<(Body, bool)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A body that comes back when it is dropped before its end.
struct Lent {
    body: Body,
    is_begun: bool,
    is_over: bool,
    left: Left,
}

impl Lent {
    fn new(body: Body, left: Left) -> Self {
        Self { body, is_begun: false, is_over: false, left }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.is_over && !self.body.is_end_stream() {
            let body = std::mem::replace(&mut self.body, Body::empty());
            let mut left = self.left.0.lock().unwrap_or_else(PoisonError::into_inner);
            *left = Some((body, self.is_begun));
        }
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.is_begun = true;
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.is_over = !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{StreamExt, stream};
    use http_body_util::StreamBody;

    /// Whether the answer to a request of so many bytes ends the connection, if its handler
    /// reads none of them, or the first piece, or all.
    async fn closes(bytes: usize, headers: &[(&'static str, String)], pieces_read: usize) -> bool {
        let pieces = bytes.div_ceil(1024);
        let frames = stream::iter(std::iter::repeat_n(Bytes::from_static(&[0; 1024]), pieces));
        let frames = frames.map(|piece| Ok::<_, Status>(Frame::data(piece)));
        let mut request = Request::post("/a.B/C").body(StreamBody::new(frames)).unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let response = answered(request, |request| async move {
            let mut body = request.into_body();
            for _ in 0..pieces_read {
                body.frame().await;
            }
            Response::new(Body::empty())
        });
        response.await.headers().contains_key(CONNECTION)
    }

    #[tokio::test]
    async fn what_is_little_is_read_and_else_the_connection_ends() {
        let length = |bytes: usize| ("content-length", bytes.to_string());
        let expects = || ("expect", "100-continue".to_owned());
        for (bytes, headers, pieces_read, expected) in [
            (0, vec![], 0, false),
            (MOST, vec![], 0, false),
            (MOST, vec![length(MOST)], 0, false),
            (MOST + 1024, vec![], 0, true),
            (MOST + 1024, vec![], 1, false),
            (8 * MOST, vec![length(8 * MOST)], 0, true),
            (8 * MOST, vec![length(8 * MOST)], 8 * 256 + 1, false),
            (1024, vec![length(1024), expects()], 0, true),
            (2048, vec![length(2048), expects()], 1, false),
        ] {
            let closes = closes(bytes, &headers, pieces_read).await;
            assert_eq!(closes, expected, "{bytes} {headers:?} {pieces_read}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let never = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Status>>());
        let request = Request::post("/a.B/C").body(never).unwrap();
        let response = answered(request, |_| async { Response::new(Body::empty()) }).await;
        assert_eq!(response.headers()[CONNECTION], "close");
    }
}

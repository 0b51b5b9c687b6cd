//! gRPC-Web, binary and in text.

use crate::content_type::{Format, media_type};
use crate::guard::Guard;
use crate::inner::Services;
use base64::Engine;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::{Body as HttpBody, Frame};
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::metadata::BASE64;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_web::GrpcWebLayer;
use tower::{Layer, Service, ServiceExt};

const BINARY: HeaderValue = HeaderValue::from_static("application/grpc-web+proto");
const TEXT: HeaderValue = HeaderValue::from_static("application/grpc-web-text+proto");

/// Answers a call. The library knows four content types, to the letter, and its text has no
/// padding but at the end, so it is shown binary calls only.
pub(crate) async fn answer<B, S>(mut request: Request<B>, guard: Guard<S>) -> Response<Body>
where
    S: Services,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let guard = match Format::check(request.headers()) {
        Ok(()) => guard,
        Err(status) => guard.refusing(status),
    };
    let is_text = matches!(Format::of(request.headers()), Some(Format::GrpcWebText(_)));
    let accept = if takes_text(request.headers(), is_text) { TEXT } else { BINARY };
    request.headers_mut().insert(header::ACCEPT, accept);
    request.headers_mut().insert(header::CONTENT_TYPE, BINARY);
    let inner = InText { inner: guard, is_text };
    let answered = GrpcWebLayer::new().layer(inner).oneshot(request).await;
    answered.unwrap_or_else(|never: Infallible| match never {})
}

/// Whether the answer is to be text: the caller says so, or says nothing and has sent text.
fn takes_text(headers: &HeaderMap, sends_text: bool) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut named = accepted.flat_map(|value| value.split(',')).filter_map(|one| {
        let one = HeaderValue::from_str(one.trim()).ok()?;
        let named = media_type(&HeaderMap::from_iter([(header::CONTENT_TYPE, one)]));
        named.strip_prefix("application/grpc-web").map(|rest| rest.starts_with("-text"))
    });
    named.next().unwrap_or(sends_text)
}

/// Hands calls on in binary.
#[derive(Clone)]
struct InText<S> {
    inner: Guard<S>,
    is_text: bool,
}

impl<S: Services> Service<Request<Body>> for InText<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <Guard<S> as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.is_text {
            true => self.inner.call(request.map(|body| Body::new(Decoded::new(body)))),
            false => self.inner.call(request),
        }
    }
}

/// Bytes that come in Base64, in any number of pieces that may each be padded (gRPC-Web,
/// "text-encoded").
struct Decoded {
    body: Body,
    /// Less than four characters.
    rest: BytesMut,
}

impl Decoded {
    fn new(body: Body) -> Self {
        Self { body, rest: BytesMut::new() }
    }

    /// What is complete of the text that has come.
    fn take(&mut self, piece: &[u8]) -> Result<Bytes, Status> {
        self.rest.extend_from_slice(piece);
        let complete = self.rest.len() / 4 * 4;
        decoded(&self.rest.split_to(complete))
    }
}

/// Four characters are three bytes; what is padded ends a piece.
fn decoded(text: &[u8]) -> Result<Bytes, Status> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut left = text;
    while !left.is_empty() {
        let padding = left.iter().position(|byte| *byte == b'=');
        let end = padding.map_or(left.len(), |at| left.len().min((at / 4 + 1) * 4));
        let (piece, others) = left.split_at(end);
        BASE64.decode_vec(piece, &mut bytes).map_err(|error| not_base64(&error))?;
        left = others;
    }
    Ok(bytes.into())
}

fn not_base64(error: &base64::DecodeError) -> Status {
    let message = format!("the text of the request is no Base64: {error}");
    error::status(Code::InvalidArgument, reason::MALFORMED_MESSAGE, message)
}

impl HttpBody for Decoded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            let bytes = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.take(&data),
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None if self.rest.is_empty() => return Poll::Ready(None),
                None => {
                    self.body = Body::empty();
                    decoded(&self.rest.split())
                }
            };
            match bytes {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Err(status) => {
                    (self.body, self.rest) = (Body::empty(), BytesMut::new());
                    return Poll::Ready(Some(Err(status)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, StreamBody};

    async fn read(text: &str, piece: usize) -> Result<Vec<u8>, Status> {
        let pieces: Vec<_> = text.as_bytes().chunks(piece).map(Bytes::copy_from_slice).collect();
        let frames = pieces.into_iter().map(|piece| Ok::<_, Status>(Frame::data(piece)));
        let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
        Decoded::new(body).collect().await.map(|all| all.to_bytes().to_vec())
    }

    #[tokio::test]
    async fn pieces_are_decoded_wherever_they_are_cut() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("AAECAwQ=", &[0, 1, 2, 3, 4]),
            ("AA==AQ==AgM=", &[0, 1, 2, 3]),
            ("AAEC/w==AAEC", &[0, 1, 2, 255, 0, 1, 2]),
            ("AAECAw", &[0, 1, 2, 3]),
        ] {
            for piece in 1..=text.len().max(1) {
                assert_eq!(read(text, piece).await.unwrap(), bytes, "{text} by {piece}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_base64_is_refused() {
        for text in ["A", "AAE\n", "A===", "====", "AAECA", "AA=A", "AA-_"] {
            for piece in 1..=text.len() {
                let status = read(text, piece).await.unwrap_err();
                assert_eq!(status.code(), Code::InvalidArgument, "{text} by {piece}");
            }
        }
    }

    #[test]
    fn an_answer_is_what_the_caller_takes_or_what_it_sends() {
        for (accept, sends_text, expected) in [
            (None, false, false),
            (None, true, true),
            (Some("*/*"), true, true),
            (Some("*/*"), false, false),
            (Some("application/grpc-web-text"), false, true),
            (Some("Application/gRPC-Web-Text+proto; q=1"), false, true),
            (Some("application/grpc-web+proto"), true, false),
            (Some("text/html, application/grpc-web-text"), false, true),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(takes_text(&headers, sends_text), expected, "{accept:?} {sends_text}");
        }
    }
}

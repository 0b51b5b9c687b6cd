//! The upstream's answer on its way to the caller.

use super::failure;
use crate::upstream::deadline::{Deadline, too_late};
use crate::upstream::http_status;
use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, Response, StatusCode};
use http_body::Frame;
use queuebridge_proto::headers::remove_hop_by_hop;
use queuebridge_web::media_type;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::task::AbortHandle;
use tonic::Status;
use tonic::body::Body;

const STATUS: &str = "grpc-status";

/// The answer for the caller: as it came, or the status for what is no answer of
/// gRPC. `pump` ends with it.
pub(super) fn passed_on(
    answer: Response<RecvStream>,
    deadline: Deadline,
    pump: Option<Stop>,
) -> Response<Body> {
    let (mut parts, stream) = answer.into_parts();
    let has_status = parts.headers.contains_key(STATUS);
    let grpc = is_grpc(&parts.headers);
    if !has_status && (parts.status != StatusCode::OK || !grpc) {
        return http_status::of(parts.status.as_u16(), grpc).into_http();
    }
    if !has_status && stream.is_end_stream() {
        return http_status::of(200, true).into_http();
    }
    remove_hop_by_hop(&mut parts.headers);
    parts.status = StatusCode::OK;
    parts.version = http::Version::default();
    parts.extensions = http::Extensions::new();
    let body = AnswerBody { stream: Some(stream), has_status, deadline, _pump: pump };
    Response::from_parts(parts, Body::new(body))
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let media_type = media_type(headers);
    let rest = media_type.strip_prefix("application/grpc");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('+'))
}

/// Ends a task when it is dropped.
pub(super) struct Stop(pub(super) AbortHandle);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The messages and trailers of an answer. Dropping it before its end resets the
/// stream.
struct AnswerBody {
    /// None once it has ended.
    stream: Option<RecvStream>,
    /// The head said it, so there may be no trailers.
    has_status: bool,
    deadline: Deadline,
    _pump: Option<Stop>,
}

type Polled = Poll<Option<Result<Frame<Bytes>, Status>>>;

impl AnswerBody {
    fn end_with(&mut self, status: &Status) -> Polled {
        self.stream = None;
        let mut trailers = HeaderMap::new();
        // Codes, texts and details of ours are valid header values.
        let _ = status.add_header(&mut trailers);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Polled {
        match trailers {
            Some(trailers) if trailers.contains_key(STATUS) || self.has_status => {
                self.stream = None;
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            None if self.has_status => {
                self.stream = None;
                Poll::Ready(None)
            }
            _ => self.end_with(&http_status::of(200, true)),
        }
    }

    fn poll_stream(&mut self, context: &mut Context<'_>) -> Polled {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        match ready!(stream.poll_data(context)) {
            Some(Ok(data)) => {
                // The caller takes it now, so the upstream may send as much again.
                let _ = stream.flow_control().release_capacity(data.len());
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(error)) => self.end_with(&failure::of(&error).status),
            None => match ready!(stream.poll_trailers(context)) {
                Ok(trailers) => self.end(trailers),
                Err(error) => self.end_with(&failure::of(&error).status),
            },
        }
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let this = &mut *self;
        match this.poll_stream(context) {
            Poll::Pending if this.deadline.poll(context) => this.end_with(&too_late()),
            polled => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.stream {
            None => true,
            Some(stream) => self.has_status && stream.is_end_stream(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_tells_grpc() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("text/html", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::CONTENT_TYPE, content_type.parse().unwrap());
            assert_eq!(is_grpc(&headers), expected, "{content_type}");
        }
    }
}

//! gRPC from proxies that add the trailers themselves: one message in, one out,
//! and the status among the headers.
//!
//! Such a proxy speaks HTTP/1.1 to its upstream. It sends the message with
//! gRPC's frame around it or, if it is set up so, without, and wants the answer
//! the same way. The two are told apart by the first byte: a frame begins with
//! the flag 0 or 1, and no serialized message does, because that would be the
//! field number 0. An empty body is an empty message without a frame.

use crate::content_type::Format;
use crate::guard::Guard;
use crate::inner::Services;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use queuebridge_proto::error::{self, reason};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::ServiceExt;

/// Flag and length before a message.
const FRAME: usize = 5;

/// Answers one message of at most so many bytes.
pub(crate) async fn answer<B, S>(
    request: Request<B>,
    guard: Guard<S>,
    most: usize,
) -> Response<Body>
where
    S: Services,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
    let (mut headers, body) = match call(request, guard, most).await {
        Ok(answered) => answered,
        Err(status) => (status.into_http::<()>().into_parts().0.headers, Bytes::new()),
    };
    // The proxy compares it with what it has sent.
    headers.insert(
        header::CONTENT_TYPE,
        content_type.unwrap_or(HeaderValue::from_static("application/grpc")),
    );
    let mut response = Response::new(Body::new(Full::new(body)));
    *response.headers_mut() = headers;
    response
}

async fn call<B, S>(
    request: Request<B>,
    guard: Guard<S>,
    most: usize,
) -> Result<(HeaderMap, Bytes), Status>
where
    S: Services,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    Format::check(request.headers())?;
    let (parts, body) = request.into_parts();
    // Nobody else counts what is collected here.
    let body = Limited::new(body, most.saturating_add(FRAME)).collect().await;
    let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => too_large(most),
        None => Status::internal(error.to_string()),
    })?;
    let (message, framed) = framed(body.to_bytes())?;
    let mut request = Request::from_parts(parts, Body::new(Full::new(message)));
    request.headers_mut().remove(header::CONTENT_LENGTH);
    let response = guard.oneshot(request).await.unwrap_or_else(|never| match never {});
    let (parts, body) = response.into_parts();
    let (body, trailers) = single(body).await?;
    let mut headers = parts.headers;
    for (name, value) in trailers.iter().flatten() {
        headers.append(name.clone(), value.clone());
    }
    if !body.is_empty() && body.len() < FRAME {
        return Err(Status::internal("the frame of the answer is cut"));
    }
    let body = if framed || body.is_empty() { body } else { body.slice(FRAME..) };
    Ok((headers, body))
}

/// The one message of a request, in its frame, and whether it came so.
fn framed(body: Bytes) -> Result<(Bytes, bool), Status> {
    match body.first() {
        Some(0 | 1) if body.len() < FRAME => {
            Err(Status::internal("the frame of the message is cut"))
        }
        // One that is compressed is read behind the guard.
        Some(0 | 1) => match (FRAME + length(&body)).cmp(&body.len()) {
            std::cmp::Ordering::Equal => Ok((body, true)),
            std::cmp::Ordering::Less => Err(not_here("there is more than one message")),
            std::cmp::Ordering::Greater => Err(Status::internal("the message is cut")),
        },
        _ => {
            let mut frame = BytesMut::with_capacity(FRAME + body.len());
            frame.put_u8(0);
            let len = u32::try_from(body.len())
                .map_err(|_| Status::resource_exhausted("the message is too large"))?;
            frame.put_u32(len);
            frame.put(body);
            Ok((frame.freeze(), false))
        }
    }
}

fn length(frame: &[u8]) -> usize {
    let bytes = [frame[1], frame[2], frame[3], frame[4]];
    usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX)
}

/// The one message of an answer, and its trailers. A stream is left at its second
/// message: nobody says how long it would go on.
async fn single(mut body: Body) -> Result<(Bytes, Option<HeaderMap>), Status> {
    let (mut message, mut trailers) = (BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => message.put(data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
        if message.len() >= FRAME && message.len() > FRAME.saturating_add(length(&message)) {
            return Err(not_here("the method answers with a stream"));
        }
    }
    Ok((message.freeze(), trailers))
}

fn too_large(most: usize) -> Status {
    let message = format!("the request is larger than the {most} bytes that are taken here");
    error::status(Code::ResourceExhausted, reason::PAYLOAD_TOO_LARGE, message)
}

fn not_here(why: &str) -> Status {
    let message = format!(
        "native gRPC cannot pass here, because there are no trailers, and {why}: use gRPC-Web or \
         Connect, or a server with HTTP/2; a proxy that adds trailers may send one message"
    );
    error::status(Code::Unimplemented, reason::NO_TRAILERS_HERE, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_told_from_a_message_by_its_first_byte() {
        let frame = Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]);
        assert_eq!(framed(frame.clone()).unwrap(), (frame.clone(), true));
        assert_eq!(framed(Bytes::from_static(&[8, 1])).unwrap(), (frame, false));
        let empty = Bytes::from_static(&[0; 5]);
        assert_eq!(framed(Bytes::new()).unwrap(), (empty.clone(), false));
        assert_eq!(framed(empty.clone()).unwrap(), (empty, true));
    }

    #[test]
    fn what_cannot_pass_is_refused_with_the_reason() {
        for (body, code) in [
            (&[0; 10][..], Code::Unimplemented),
            (&[1, 0, 0, 0, 9, 1], Code::Internal),
            (&[0, 0], Code::Internal),
            (&[0, 0, 0, 0, 9, 1], Code::Internal),
        ] {
            assert_eq!(framed(Bytes::from_static(body)).unwrap_err().code(), code, "{body:?}");
        }
    }
}

//! The body of a request whose messages are decompressed on their way.

use super::codec::{Codec, InflateError};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use queuebridge_proto::error::{self, reason};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::body::Body;
use tonic::{Code, Status};

/// Flag and length before a message.
const HEAD: usize = 5;

/// Hands messages on that are not compressed as they come, and collects the others.
pub(super) struct Inflating {
    body: Body,
    codec: Codec,
    most: usize,
    at: At,
    /// What has come and is not looked at yet.
    rest: Bytes,
}

/// Where in its messages a body is.
enum At {
    /// In the head of one.
    Head(BytesMut),
    /// So many bytes before the end of one that is handed on.
    Plain(usize),
    /// In one that is compressed, with its length.
    Compressed(BytesMut, usize),
    /// Behind an error.
    End,
}

impl Inflating {
    pub(super) fn new(body: Body, codec: Codec, most: usize) -> Self {
        Self { body, codec, most, at: At::Head(BytesMut::new()), rest: Bytes::new() }
    }

    /// The next piece to hand on from what has come.
    fn piece(&mut self) -> Result<Option<Bytes>, Status> {
        while !self.rest.is_empty() || matches!(self.at, At::Compressed(_, 0)) {
            match &mut self.at {
                At::End => self.rest.clear(),
                At::Head(head) => {
                    let some = self.rest.len().min(HEAD - head.len());
                    head.put(self.rest.split_to(some));
                    if head.len() < HEAD {
                        continue;
                    }
                    let head = std::mem::take(head).freeze();
                    let length = usize::try_from((&head[1..]).get_u32()).unwrap_or(usize::MAX);
                    if head[0] == 1 {
                        if length > self.most {
                            return Err(too_large(&InflateError::TooLarge(self.most)));
                        }
                        self.at = At::Compressed(BytesMut::new(), length);
                        continue;
                    }
                    self.at =
                        if length == 0 { At::Head(BytesMut::new()) } else { At::Plain(length) };
                    return Ok(Some(head));
                }
                At::Plain(left) => {
                    let some = self.rest.split_to(self.rest.len().min(*left));
                    *left -= some.len();
                    if *left == 0 {
                        self.at = At::Head(BytesMut::new());
                    }
                    return Ok(Some(some));
                }
                At::Compressed(message, length) => {
                    let some = self.rest.len().min(*length - message.len());
                    message.put(self.rest.split_to(some));
                    if message.len() < *length {
                        continue;
                    }
                    let message = std::mem::take(message);
                    self.at = At::Head(BytesMut::new());
                    return self.inflate(&message).map(Some);
                }
            }
        }
        Ok(None)
    }

    fn inflate(&self, message: &[u8]) -> Result<Bytes, Status> {
        let message = match self.codec.inflate(message, self.most) {
            Ok(message) => message,
            Err(error @ InflateError::TooLarge(_)) => return Err(too_large(&error)),
            Err(error @ InflateError::Broken { .. }) => {
                let (code, reason) = (Code::InvalidArgument, reason::MALFORMED_MESSAGE);
                return Err(error::status(code, reason, error.to_string()));
            }
        };
        let mut framed = BytesMut::with_capacity(HEAD + message.len());
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        framed.put(message);
        Ok(framed.freeze())
    }
}

fn too_large(error: &InflateError) -> Status {
    error::status(Code::ResourceExhausted, reason::PAYLOAD_TOO_LARGE, error.to_string())
}

impl HttpBody for Inflating {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            match this.piece() {
                Ok(Some(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Ok(None) => {}
                Err(status) => {
                    (this.at, this.body, this.rest) = (At::End, Body::empty(), Bytes::new());
                    return Poll::Ready(Some(Err(status)));
                }
            }
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => {
                    this.body = Body::empty();
                    return Poll::Ready(this.cut());
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let nothing_left = match &self.at {
            At::Head(head) => head.is_empty(),
            At::Plain(_) => true,
            At::Compressed(..) => false,
            At::End => true,
        };
        nothing_left && self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Inflating {
    /// The end of the body, in a message that was not handed on as it came: its reader sees a
    /// request that breaks off.
    fn cut(&mut self) -> Option<Result<Frame<Bytes>, Status>> {
        let at = std::mem::replace(&mut self.at, At::End);
        let begun = match at {
            At::Head(head) if !head.is_empty() => head,
            At::Compressed(..) => BytesMut::from(&[1][..]),
            At::Head(_) | At::Plain(_) | At::End => return None,
        };
        Some(Ok(Frame::data(begun.freeze())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::tests::deflated;
    use super::*;
    use http_body_util::{BodyExt, StreamBody};

    fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[flag][..], &length, message].concat()
    }

    async fn read(body: &[u8], piece: usize, most: usize) -> Result<Vec<u8>, Status> {
        let pieces: Vec<_> = body.chunks(piece).map(Bytes::copy_from_slice).collect();
        let frames = pieces.into_iter().map(|piece| Ok::<_, Status>(Frame::data(piece)));
        let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
        let mut body = Inflating::new(body, Codec::Gzip, most);
        let mut all = Vec::new();
        while let Some(frame) = body.frame().await {
            all.extend(frame?.into_data().unwrap_or_default());
        }
        assert!(body.is_end_stream());
        Ok(all)
    }

    #[tokio::test]
    async fn messages_are_decompressed_wherever_they_are_cut() {
        let large = vec![b'x'; 5_000];
        let sent = [
            framed(1, &deflated(Codec::Gzip, b"one")),
            framed(0, b"two"),
            framed(0, b""),
            framed(1, &deflated(Codec::Gzip, b"")),
            framed(1, &deflated(Codec::Gzip, &large)),
        ];
        let expected = [
            framed(0, b"one"),
            framed(0, b"two"),
            framed(0, b""),
            framed(0, b""),
            framed(0, &large),
        ];
        let (sent, expected) = (sent.concat(), expected.concat());
        for piece in 1..sent.len() {
            assert_eq!(read(&sent, piece, 5_000).await.unwrap(), expected, "{piece}");
        }
    }

    #[tokio::test]
    async fn a_message_that_cannot_be_decompressed_ends_the_body_after_those_before_it() {
        let bomb = deflated(Codec::Gzip, &vec![0; 1_000_000]);
        for (message, code) in [
            (framed(1, &[&deflated(Codec::Gzip, b"x")[..], b"rest"].concat()), 3),
            (framed(1, b""), 3),
            (framed(1, b"not gzip"), 3),
            (framed(1, &bomb), 8),
            (framed(1, &[0; 2000]), 8),
        ] {
            let status = read(&message, 7, 1000).await.unwrap_err();
            assert_eq!(status.code() as i32, code, "{status}");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_cut_stays_cut() {
        let whole = framed(1, &deflated(Codec::Gzip, b"one"));
        for cut in 1..whole.len() {
            let left = read(&whole[..cut], 100, 1000).await.unwrap();
            assert!(!left.is_empty() && left.len() < HEAD, "{cut}: {left:?}");
        }
    }
}

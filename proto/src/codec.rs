//! The codec of the generated services: Protobuf, with precise refusals.
//!
//! Tonic's own codec answers INTERNAL when a request does not decode, as if the
//! server were at fault. This one answers INVALID_ARGUMENT and names the field.

use crate::error::{self, reason};
use bytes::Buf;
use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use std::marker::PhantomData;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic::{Code, Status};
use tonic_prost::ProstEncoder;

/// Most messages here are small: tonic's default of 8 KiB per message is past what
/// allocators keep at hand. Larger ones grow the buffer, as they would there.
fn buffers() -> BufferSettings {
    BufferSettings::new(1024, 32 * 1024)
}

/// A message of this size, in bytes, is looked at before it is decoded.
const LARGE: usize = 64 * 1024;
/// What no honest message has: of a batch of 1,000 each is one field. An empty
/// submission is two bytes of a message, and hundreds in memory.
const MAX_FIELDS: usize = 20_000;

/// Encodes `T` and decodes `U`.
#[derive(Debug)]
pub struct ProtoCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for ProtoCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for ProtoCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProtoDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProtoDecoder(PhantomData)
    }
}

/// Decodes `U`.
#[derive(Debug)]
pub struct ProtoDecoder<U>(PhantomData<U>);

impl<U: Message + Default> Decoder for ProtoDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // `copy_to_bytes` of a `DecodeBuf` is a split without a copy, and lets
        // `bytes` fields share the frame's memory.
        let frame = src.copy_to_bytes(src.remaining());
        if frame.len() > LARGE && fields(&frame) > MAX_FIELDS {
            let problem = format!("more than {MAX_FIELDS} fields");
            return Err(error::status(Code::InvalidArgument, reason::MALFORMED_MESSAGE, problem));
        }
        U::decode(frame).map(Some).map_err(|error| malformed(&error))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

/// How many fields a message has, its repeated ones counted one by one, up to the first
/// that is malformed.
fn fields(mut frame: &[u8]) -> usize {
    let mut count = 0;
    while let Ok((tag, wire_type)) = decode_key(&mut frame)
        && skip_field(wire_type, tag, &mut frame, DecodeContext::default()).is_ok()
    {
        count += 1;
    }
    count
}

fn malformed(error: &prost::DecodeError) -> Status {
    let text = error.to_string();
    let cause = text.strip_prefix("failed to decode Protobuf message: ").unwrap_or(&text);
    match cause.split_once(": ") {
        // prost writes the way to the field as `Message.field: …`.
        Some((path, rule)) if !path.contains(' ') => {
            let field = path.split_once('.').map_or(path, |(_, field)| field);
            error::refused_field(Code::InvalidArgument, reason::MALFORMED_MESSAGE, field, rule)
        }
        _ => error::status(Code::InvalidArgument, reason::MALFORMED_MESSAGE, cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::SubmitRequest;
    use tonic_types::StatusExt;

    #[test]
    fn text_that_is_not_utf8_names_its_field() {
        let error = SubmitRequest::decode(&[0x0a, 0x01, 0xff][..]).unwrap_err();
        let status = malformed(&error);
        assert_eq!(status.code(), Code::InvalidArgument);
        let info = status.get_error_details().error_info().cloned().unwrap();
        assert_eq!(info.reason, "MALFORMED_MESSAGE");
        assert_eq!(info.metadata["field"], "method");
    }

    #[test]
    fn what_would_take_more_than_it_looks_like_is_counted_before_it_is_decoded() {
        let batch = |jobs: usize| [0x0a, 0].repeat(jobs);
        assert_eq!(fields(&batch(50_000)), 50_000);
        assert_eq!(fields(&[batch(3), vec![0x0a, 9, 1]].concat()), 3, "cut off");
        assert_eq!(fields(&[]), 0);
    }

    #[test]
    fn a_truncated_message_is_the_callers_mistake() {
        let error = SubmitRequest::decode(&[0x0a, 0x09, 0x61][..]).unwrap_err();
        assert_eq!(malformed(&error).code(), Code::InvalidArgument);
    }
}

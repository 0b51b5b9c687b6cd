//! The codec of the generated services: Protobuf, with precise refusals.
//!
//! Tonic's own codec answers INTERNAL when a request does not decode, as if the
//! server were at fault. This one answers INVALID_ARGUMENT and names the field.

use crate::error::{self, reason};
use crate::fields;
use bytes::Buf;
use prost::{Message, Name};
use std::marker::PhantomData;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};

/// Most messages here are small: tonic's default of 8 KiB per message is past what
/// allocators keep at hand. Larger ones grow the buffer, as they would there.
fn buffers() -> BufferSettings {
    BufferSettings::new(1024, 32 * 1024)
}

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
    U: Message + Default + Name + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProtoEncoder<T>;
    type Decoder = ProtoDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProtoEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProtoDecoder(PhantomData)
    }
}

/// Encodes `T`.
#[derive(Debug)]
pub struct ProtoEncoder<T>(PhantomData<T>);

impl<T: Message> Encoder for ProtoEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // A buffer that grows by what follows a large field would have twice its size.
        dst.reserve(item.encoded_len());
        item.encode(dst).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

/// Decodes `U`.
#[derive(Debug)]
pub struct ProtoDecoder<U>(PhantomData<U>);

impl<U: Message + Default + Name> Decoder for ProtoDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // `copy_to_bytes` of a `DecodeBuf` is a split without a copy, and lets
        // `bytes` fields share the frame's memory.
        let frame = src.copy_to_bytes(src.remaining());
        if fields::are_too_many::<U>(&frame) {
            let problem = "more fields than any message of this method has";
            return Err(error::status(Code::InvalidArgument, reason::MALFORMED_MESSAGE, problem));
        }
        U::decode(frame).map(Some).map_err(|error| malformed(&error))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
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
    fn a_truncated_message_is_the_callers_mistake() {
        let error = SubmitRequest::decode(&[0x0a, 0x09, 0x61][..]).unwrap_err();
        assert_eq!(malformed(&error).code(), Code::InvalidArgument);
    }
}

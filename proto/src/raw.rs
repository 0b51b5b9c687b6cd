//! Calling tonic services with serialized messages.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Answers up to this size are copied: a slice of the buffer in which tonic has
/// encoded them would keep all of its 8 KiB alive for as long as the answer rests.
const SMALL: usize = 4 * 1024;

/// Messages as they are, for those who pass them on.
#[derive(Clone, Copy, Debug)]
pub struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put(item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        // Most requests are small, and this buffer lives as long as the call.
        BufferSettings::new(1024, 32 * 1024)
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let len = src.remaining();
        if len > SMALL {
            return Ok(Some(src.copy_to_bytes(len)));
        }
        let mut small = BytesMut::with_capacity(len);
        small.put(src);
        Ok(Some(small.freeze()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(1024, 32 * 1024)
    }
}

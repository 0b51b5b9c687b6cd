//! Compressed messages, read strictly: every member of gzip (RFC 1952, 2.2) and every frame of
//! Zstandard (RFC 8878, 3), and nothing after them.

use bytes::Bytes;
use connectrpc::{CompressionProvider, CompressionRegistry, ConnectError};
use flate2::bufread::{GzEncoder, MultiGzDecoder};
use std::io::{self, Read};

/// The largest window of Zstandard: 8 MiB, as a decoder for HTTP needs (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;
/// Quick, as for everything that is compressed once and sent once.
const LEVEL: u32 = 1;

/// A compression of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Gzip,
    Zstd,
}

/// Why a message cannot be decompressed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InflateError {
    /// It is larger than allowed.
    #[error("the message is larger than the {0} bytes that are taken here")]
    TooLarge(usize),
    /// It is damaged, cut, or followed by something else.
    #[error("the message is not whole {name}: {source}")]
    Broken { name: &'static str, source: io::Error },
}

impl Codec {
    /// The codec of a `grpc-encoding`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Gzip, Self::Zstd].into_iter().find(|codec| codec.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// All of a message, if that is at most `most` bytes.
    pub(crate) fn inflate(self, message: &[u8], most: usize) -> Result<Bytes, InflateError> {
        let broken = |source| InflateError::Broken { name: self.name(), source };
        let mut all = Vec::with_capacity(message.len().saturating_mul(2).min(most));
        let reader = self.reader(message).map_err(broken)?;
        let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        reader.take(limit).read_to_end(&mut all).map_err(broken)?;
        if all.len() > most { Err(InflateError::TooLarge(most)) } else { Ok(all.into()) }
    }

    fn reader<'a>(self, message: &'a [u8]) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            // An empty text is no member at all, which the decoder would let pass.
            Self::Gzip if message.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            Self::Gzip => Box::new(MultiGzDecoder::new(message)),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(message)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        })
    }
}

/// The codecs for Connect, whose library reads one member of gzip and leaves the rest.
pub(crate) fn registry() -> CompressionRegistry {
    CompressionRegistry::new().register(Codec::Gzip).register(Codec::Zstd)
}

impl CompressionProvider for Codec {
    fn name(&self) -> &'static str {
        Codec::name(*self)
    }

    fn compress(&self, data: &[u8]) -> Result<Bytes, ConnectError> {
        let mut compressed = Vec::new();
        match self {
            Self::Gzip => {
                let level = flate2::Compression::new(LEVEL);
                GzEncoder::new(data, level).read_to_end(&mut compressed)
            }
            Self::Zstd => zstd::stream::copy_encode(data, &mut compressed, 1).map(|()| 0),
        }
        .map_err(|error| ConnectError::internal(error.to_string()))?;
        Ok(compressed.into())
    }

    fn decompressor<'a>(&self, data: &'a [u8]) -> Result<Box<dyn Read + 'a>, ConnectError> {
        self.reader(data).map_err(|error| ConnectError::invalid_argument(error.to_string()))
    }

    fn decompress_with_limit(&self, data: &[u8], most: usize) -> Result<Bytes, ConnectError> {
        self.inflate(data, most).map_err(|error| match error {
            InflateError::TooLarge(_) => ConnectError::resource_exhausted(error.to_string()),
            InflateError::Broken { .. } => ConnectError::invalid_argument(error.to_string()),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn deflated(codec: Codec, data: &[u8]) -> Vec<u8> {
        codec.compress(data).unwrap().to_vec()
    }

    #[test]
    fn all_members_of_a_message_are_read() {
        for codec in [Codec::Gzip, Codec::Zstd] {
            let parts = [&b""[..], b"hello, ", b"", b"world"];
            let all: Vec<u8> = parts.iter().flat_map(|part| deflated(codec, part)).collect();
            assert_eq!(codec.inflate(&all, 12).unwrap(), "hello, world", "{codec:?}");
            let large = vec![7; 3_000_000];
            let read = codec.inflate(&deflated(codec, &large), 3_000_000).unwrap();
            assert_eq!(read, large);
        }
    }

    #[test]
    fn a_cut_or_damaged_message_and_bytes_after_it_are_errors() {
        for codec in [Codec::Gzip, Codec::Zstd] {
            let whole = deflated(codec, b"hello");
            for cut in 0..whole.len() {
                let read = codec.inflate(&whole[..cut], 100);
                assert!(
                    matches!(read, Err(InflateError::Broken { .. })),
                    "{codec:?} {cut}: {read:?}"
                );
            }
            for rest in [&b"\0"[..], b"garbage after the end", &whole[..9]] {
                let read = codec.inflate(&[&whole, rest].concat(), 100);
                assert!(
                    matches!(read, Err(InflateError::Broken { .. })),
                    "{codec:?} {rest:?}: {read:?}"
                );
            }
        }
        let mut damaged = deflated(Codec::Gzip, b"hello");
        let checksum = damaged.len() - 8;
        damaged[checksum] ^= 1;
        assert!(Codec::Gzip.inflate(&damaged, 100).is_err());
    }

    #[test]
    fn a_message_is_not_read_beyond_its_bound() {
        for codec in [Codec::Gzip, Codec::Zstd] {
            let bomb = deflated(codec, &vec![0; 10_000_000]);
            assert!(bomb.len() < 100_000);
            let read = codec.inflate(&bomb, 1_000_000);
            assert!(matches!(read, Err(InflateError::TooLarge(1_000_000))), "{codec:?}");
            assert_eq!(codec.inflate(&deflated(codec, b"12345"), 5).unwrap(), "12345");
            assert!(codec.inflate(&deflated(codec, b"12345"), 4).is_err());
        }
    }
}

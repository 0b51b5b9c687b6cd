//! Zstandard, where it helps.

use bytes::Bytes;
use std::cell::RefCell;
use std::io::Read;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::get_frame_content_size;

/// Below this there is little to win: a queue charges for whole requests.
const LEAST: usize = 1024;
/// What is compressed first, to see whether the rest is worth it.
const SAMPLE: usize = 4 * 1024;
/// The fastest of the usual levels: the next ones take twice the time for a few
/// percent.
const LEVEL: i32 = 1;
/// The most that anything here decompresses to: as large as a gateway's messages may
/// be, and some room around. More is an attack or a mistake.
const MOST: u64 = 68 * 1024 * 1024;

thread_local! {
    // Making their tables takes longer than most messages do.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The compressed form, if it is smaller by a tenth at least.
pub(crate) fn compress(content: &[u8]) -> Option<Vec<u8>> {
    if content.len() < LEAST {
        return None;
    }
    // Pictures and archives do not shrink, and a part of them tells. The sample is
    // from the middle: the beginning holds names and metadata.
    if content.len() > 4 * SAMPLE {
        let middle = content.len() / 2;
        let sample = &content[middle..middle + SAMPLE];
        if !is_smaller(smaller(sample)?.len(), SAMPLE) {
            return None;
        }
    }
    let compressed = smaller(content)?;
    is_smaller(compressed.len(), content.len()).then_some(compressed)
}

fn smaller(content: &[u8]) -> Option<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => kept.insert(Compressor::new(LEVEL).ok()?),
        };
        compressor.compress(content).ok()
    })
}

fn is_smaller(after: usize, before: usize) -> bool {
    after < before - before / 10
}

/// What was compressed; `None` when it is damaged, or too much. No more memory is
/// taken than there are bytes.
pub(crate) fn decompress(compressed: &[u8]) -> Option<Bytes> {
    match get_frame_content_size(compressed) {
        Ok(Some(size)) if size > MOST => None,
        Ok(Some(size)) => whole(compressed, usize::try_from(size).ok()?),
        _ => in_pieces(compressed),
    }
}

/// What says how large it is, as all do that were compressed here. Memory that is not
/// written to is not taken.
fn whole(compressed: &[u8], size: usize) -> Option<Bytes> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new().ok()?),
        };
        decompressor.decompress(compressed, size).ok().map(Bytes::from)
    })
}

fn in_pieces(compressed: &[u8]) -> Option<Bytes> {
    let decoder = zstd::stream::read::Decoder::with_buffer(compressed).ok()?;
    let mut content = Vec::new();
    decoder.take(MOST + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= MOST).then(|| content.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use zstd::bulk;

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        };
        std::iter::repeat_with(&mut next).take(len).collect()
    }

    #[test]
    fn text_shrinks_and_noise_and_little_are_left_alone() {
        let text = "{\"name\": \"value\", \"number\": 12345}, ".repeat(200);
        let compressed = compress(text.as_bytes()).unwrap();
        assert!(compressed.len() * 5 < text.len());
        assert_eq!(decompress(&compressed).unwrap(), text.as_bytes());
        assert_eq!(compress(&noise(100_000)), None);
        assert_eq!(compress(&noise(2_000)), None);
        assert_eq!(compress(&[0; LEAST - 1]), None);
    }

    #[test]
    fn a_bomb_is_refused() {
        let most = usize::try_from(MOST).unwrap();
        let largest = bulk::compress(&vec![0; most], LEVEL).unwrap();
        assert_eq!(decompress(&largest).unwrap().len(), most);
        let bomb = bulk::compress(&vec![0; most + 1], LEVEL).unwrap();
        assert!(bomb.len() < 100_000);
        assert_eq!(decompress(&bomb), None);
    }

    #[test]
    fn what_does_not_say_its_size_is_read_as_well() {
        let bytes = b"0123456789".repeat(1_000);
        let mut compressed = zstd::stream::encode_all(&bytes[..], LEVEL).unwrap();
        assert_eq!(get_frame_content_size(&compressed).ok(), Some(None));
        assert_eq!(decompress(&compressed).unwrap(), bytes);
        compressed.truncate(compressed.len() - 1);
        assert_eq!(decompress(&compressed), None);
    }

    proptest! {
        #[test]
        fn damage_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decompress(&bytes);
            let mut damaged = bulk::compress(&[7; 5000], LEVEL).unwrap();
            for (place, byte) in damaged.iter_mut().zip(&bytes) {
                *place ^= byte;
            }
            let _ = decompress(&damaged);
        }
    }
}

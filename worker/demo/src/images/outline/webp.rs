//! WebP: a RIFF container of one or more chunks.

use super::{Outline, at};

const RIFF_HEADER_BYTES: usize = 12;
const CHUNK_HEADER_BYTES: usize = 8;
/// Position, size, duration and flags of an animation's frame, before its own
/// chunks.
const FRAME_HEADER_BYTES: usize = 16;

pub(super) fn outline(bytes: &[u8]) -> Outline {
    let mut outline = Outline::default();
    let declared = at(bytes, 4).map_or(0, u32::from_le_bytes) as usize;
    outline.complete = bytes.len() >= declared.saturating_add(CHUNK_HEADER_BYTES);
    claims(bytes.get(RIFF_HEADER_BYTES..).unwrap_or_default(), &mut outline);
    outline
}

/// Collects the sizes that chunks claim: a small canvas may hold a large frame.
fn claims(mut chunks: &[u8], outline: &mut Outline) {
    while let (Some(kind), Some(length)) = (at::<4>(chunks, 0), at(chunks, 4)) {
        let length = u32::from_le_bytes(length) as usize;
        let data = chunks.get(CHUNK_HEADER_BYTES..).unwrap_or_default();
        let data = data.get(..length).unwrap_or(data);
        if let Some((width, height)) = size(&kind, data) {
            outline.claim(width, height);
        }
        if &kind == b"ANMF" {
            // The frame's chunks stand where a still picture's would; going on
            // behind the frame's header reads them and then the next frame.
            chunks = chunks.get(CHUNK_HEADER_BYTES + FRAME_HEADER_BYTES..).unwrap_or_default();
            continue;
        }
        // Chunks are padded to an even length.
        let next = CHUNK_HEADER_BYTES.saturating_add(length).saturating_add(length % 2);
        chunks = chunks.get(next..).unwrap_or_default();
    }
}

fn size(kind: &[u8; 4], data: &[u8]) -> Option<(u32, u32)> {
    match kind {
        b"VP8X" => Some((minus_one(data, 4)?, minus_one(data, 7)?)),
        b"ANMF" => Some((minus_one(data, 6)?, minus_one(data, 9)?)),
        b"VP8L" => {
            let bits = u32::from_le_bytes(at(data, 1)?);
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        b"VP8 " => {
            let edge = |offset| Some(u32::from(u16::from_le_bytes(at(data, offset)?) & 0x3fff));
            Some((edge(6)?, edge(8)?))
        }
        _ => None,
    }
}

/// A 24-bit number that is stored one less than it is.
fn minus_one(data: &[u8], offset: usize) -> Option<u32> {
    let [low, middle, high] = at(data, offset)?;
    Some(u32::from_le_bytes([low, middle, high, 0]) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_frame_on_a_small_canvas_counts() {
        let mut bytes = b"RIFF\x2e\0\0\0WEBP".to_vec();
        bytes.extend(b"VP8X\x0a\0\0\0\0\0\0\0\x09\0\0\x09\0\0"); // 10 x 10
        bytes.extend(b"VP8 \x0b\0\0\0\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f\0\0"); // 16,383 squared
        assert_eq!(outline(&bytes).pixels, 16_383 * 16_383);
    }

    #[test]
    fn a_file_shorter_than_it_says_is_incomplete() {
        let bytes = b"RIFF\x16\0\0\0WEBPVP8L\x05\0\0\0\x2f\0\0\0\0\0\0\0\0\0";
        assert_eq!(outline(bytes), Outline { pixels: 1, complete: true, printing: false });
        assert!(!outline(&bytes[..bytes.len() - 1]).complete);
    }
}

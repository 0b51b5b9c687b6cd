//! PNG: a signature, then chunks of length, type, data and checksum.

use super::chunks::{OVERHEAD, SIGNATURE_BYTES};
use super::{Outline, at};

pub(super) fn outline(bytes: &[u8]) -> Outline {
    let mut outline = Outline::default();
    let mut offset = SIGNATURE_BYTES;
    while let (Some(length), Some(kind)) = (at(bytes, offset), at::<4>(bytes, offset + 4)) {
        if &kind == b"IHDR"
            && let (Some(width), Some(height)) = (at(bytes, offset + 8), at(bytes, offset + 12))
        {
            outline.claim(u32::from_be_bytes(width), u32::from_be_bytes(height));
        }
        offset = offset.saturating_add(OVERHEAD + u32::from_be_bytes(length) as usize);
        if offset > bytes.len() {
            break;
        }
        if &kind == b"IEND" {
            outline.complete = true;
            break;
        }
    }
    outline
}

//! The chunks of a PNG: length, type, data and checksum, behind a signature.

use super::at;

pub(in crate::images) const SIGNATURE_BYTES: usize = 8;
/// Length, type and checksum.
pub(super) const OVERHEAD: usize = 12;

/// A chunk.
pub(in crate::images) struct Chunk<'a> {
    pub(in crate::images) kind: [u8; 4],
    pub(in crate::images) data: &'a [u8],
    /// With length, type and checksum.
    pub(in crate::images) whole: &'a [u8],
}

/// The chunks that are whole, up to the first that is not.
pub(in crate::images) fn all(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = bytes.get(SIGNATURE_BYTES..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, kind) = (at(rest, 0).map(u32::from_be_bytes)?, at(rest, 4)?);
        let whole = rest.get(..(length as usize).checked_add(OVERHEAD)?)?;
        rest = &rest[whole.len()..];
        Some(Chunk { kind, data: &whole[8..whole.len() - 4], whole })
    })
}

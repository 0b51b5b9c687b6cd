//! What a file says about itself, read without decoding a pixel.
//!
//! Two questions are answered here rather than by the decoders: how large the
//! picture claims to be, because a decoder may allocate before it can be asked;
//! and whether the file is complete, because some decoders fill what is missing
//! with grey. Damage is not judged here: the decoders find it.

pub(super) mod chunks;
mod jpeg;
mod png;
mod webp;

use super::format::Format;

/// What a file says about itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Outline {
    /// The largest area that any part of the file claims, in pixels; 0 when the
    /// file ends before it says.
    pub(super) pixels: u64,
    /// Whether the end of the picture is there.
    pub(super) complete: bool,
    /// Whether a JPEG has four colours: those of printers.
    pub(super) printing: bool,
}

impl Outline {
    /// Reads the outline of a file whose signature has been recognised.
    pub(super) fn of(format: Format, bytes: &[u8]) -> Self {
        match format {
            Format::Png => png::outline(bytes),
            Format::Jpeg => jpeg::outline(bytes),
            Format::WebP => webp::outline(bytes),
        }
    }

    fn claim(&mut self, width: u32, height: u32) {
        self.pixels = self.pixels.max(u64::from(width) * u64::from(height));
    }
}

fn at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

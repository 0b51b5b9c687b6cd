//! Finding the profile in a file, within a limit.

use crate::images::error::PictureError;
use crate::images::outline::chunks::{self, Chunk};
use fdeflate::BoundedDecompressionError::OutputTooLarge;
use image::ImageDecoder;
use std::borrow::Cow;

/// The largest profile in bytes, inflated: those for printers have one or two megabytes,
/// all others less.
const MAX_PROFILE_BYTES: usize = 4 * 1024 * 1024;

/// The chunks of a PNG that may be compressed, and are not pixels; and plain texts.
const METADATA: [&[u8; 4]; 4] = [b"iCCP", b"zTXt", b"iTXt", b"tEXt"];

/// What a file says of its colours.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::images) enum Embedded {
    /// Nothing: they are sRGB.
    None,
    /// An ICC profile.
    Icc(Vec<u8>),
    /// The code points of H.273, as a `cICP` chunk has them.
    CodePoints([u8; 4]),
}

/// Reads what a PNG says of its colours. The decoder is given the file without profiles and
/// texts: it would inflate them up to the limit for pixels.
///
/// # Errors
///
/// [`PictureError::TooLarge`] for a profile over [`MAX_PROFILE_BYTES`]; no more is inflated.
pub(in crate::images) fn of_png(bytes: &[u8]) -> Result<(Cow<'_, [u8]>, Embedded), PictureError> {
    let is_metadata = |chunk: &Chunk<'_>| METADATA.contains(&&chunk.kind);
    let before_pixels = || chunks::all(bytes).take_while(|chunk| &chunk.kind != b"IDAT");
    let first = |kind| before_pixels().find(|chunk| &chunk.kind == kind).map(|chunk| chunk.data);
    // The specification has the code points come first.
    let points = first(b"cICP").and_then(|data| data.try_into().ok());
    let embedded = match (points, first(b"iCCP")) {
        (Some(points), _) => Embedded::CodePoints(points),
        (None, Some(data)) => inflated(data)?,
        (None, None) => Embedded::None,
    };
    if !chunks::all(bytes).any(|chunk| is_metadata(&chunk)) {
        return Ok((Cow::Borrowed(bytes), embedded));
    }
    let mut kept = bytes[..chunks::SIGNATURE_BYTES.min(bytes.len())].to_vec();
    for chunk in chunks::all(bytes).filter(|chunk| !is_metadata(chunk)) {
        kept.extend_from_slice(chunk.whole);
    }
    Ok((Cow::Owned(kept), embedded))
}

/// The profile in an `iCCP` chunk: a name, a zero, the method of compression, and the
/// compressed profile. One that is damaged is none.
fn inflated(data: &[u8]) -> Result<Embedded, PictureError> {
    let name = data.iter().take(80).position(|byte| *byte == 0);
    let compressed =
        name.and_then(|end| data.get(end + 1..)).and_then(|rest| rest.strip_prefix(&[0]));
    let Some(compressed) = compressed else { return Ok(Embedded::None) };
    match fdeflate::decompress_to_vec_bounded(compressed, MAX_PROFILE_BYTES) {
        Ok(profile) => Ok(Embedded::Icc(profile)),
        Err(OutputTooLarge { .. }) => Err(too_large()),
        Err(_) => Ok(Embedded::None),
    }
}

/// What a JPEG or WebP says of its colours; nothing there is compressed. What cannot be read
/// is as good as absent.
///
/// # Errors
///
/// [`PictureError::TooLarge`] for a profile over [`MAX_PROFILE_BYTES`].
pub(in crate::images) fn of_decoder(
    decoder: &mut impl ImageDecoder,
) -> Result<Embedded, PictureError> {
    match decoder.icc_profile() {
        Ok(Some(profile)) if profile.len() > MAX_PROFILE_BYTES => Err(too_large()),
        Ok(Some(profile)) => Ok(Embedded::Icc(profile)),
        Ok(None) | Err(_) => Ok(Embedded::None),
    }
}

fn too_large() -> PictureError {
    PictureError::TooLarge(format!("its colour profile has over {MAX_PROFILE_BYTES} bytes"))
}

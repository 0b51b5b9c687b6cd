//! The three encodings that are read and written.

use super::error::PictureError;
use crate::v1;

/// An encoding of pictures.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP.
    WebP,
}

const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG_SIGNATURE: &[u8] = b"\xff\xd8\xff";

impl Format {
    /// Recognises the encoding by the first bytes; names and media types of
    /// files are not to be trusted, and none are asked for.
    ///
    /// # Errors
    ///
    /// [`PictureError::Unsupported`] for other encodings that are known by
    /// sight, [`PictureError::Truncated`] for less than a signature, and
    /// otherwise [`PictureError::NotAnImage`].
    pub fn of(bytes: &[u8]) -> Result<Self, PictureError> {
        match image::guess_format(bytes) {
            Ok(image::ImageFormat::Png) => Ok(Self::Png),
            Ok(image::ImageFormat::Jpeg) => Ok(Self::Jpeg),
            Ok(image::ImageFormat::WebP) => Ok(Self::WebP),
            Ok(other) => Err(PictureError::Unsupported(format!("{other:?}"))),
            Err(_) if is_part_of_a_signature(bytes) => Err(PictureError::Truncated),
            Err(_) => Err(PictureError::NotAnImage),
        }
    }

    /// The encoding that a request names; `None` when it leaves it open.
    ///
    /// # Errors
    ///
    /// [`PictureError::Field`] for a number that is no `ImageFormat`.
    pub fn requested(number: i32) -> Result<Option<Self>, PictureError> {
        match v1::ImageFormat::try_from(number) {
            Ok(v1::ImageFormat::Unspecified) => Ok(None),
            Ok(v1::ImageFormat::Png) => Ok(Some(Self::Png)),
            Ok(v1::ImageFormat::Jpeg) => Ok(Some(Self::Jpeg)),
            Ok(v1::ImageFormat::Webp) => Ok(Some(Self::WebP)),
            Err(_) => Err(PictureError::Field {
                field: "format",
                rule: format!("expected an ImageFormat, 0 to 3, found {number}"),
            }),
        }
    }

    pub(crate) fn codec(self) -> image::ImageFormat {
        match self {
            Self::Png => image::ImageFormat::Png,
            Self::Jpeg => image::ImageFormat::Jpeg,
            Self::WebP => image::ImageFormat::WebP,
        }
    }
}

impl From<Format> for v1::ImageFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Png => Self::Png,
            Format::Jpeg => Self::Jpeg,
            Format::WebP => Self::Webp,
        }
    }
}

fn is_part_of_a_signature(bytes: &[u8]) -> bool {
    let webp = bytes.len() < 12
        && (b"RIFF".starts_with(bytes)
            || bytes.strip_prefix(b"RIFF").is_some_and(|rest| {
                rest.len() < 4 || rest.get(4..).is_some_and(|kind| b"WEBP".starts_with(kind))
            }));
    webp || PNG_SIGNATURE.starts_with(bytes) || JPEG_SIGNATURE.starts_with(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_of_a_signature_is_a_picture_cut_short() {
        for piece in [&b"\x89PN"[..], b"\xff\xd8", b"RI", b"RIFF\x01", b"RIFF\0\0\0\0WE"] {
            assert!(matches!(Format::of(piece), Err(PictureError::Truncated)), "{piece:?}");
        }
    }

    #[test]
    fn other_bytes_are_no_picture_and_other_pictures_are_unsupported() {
        for other in [&b"hello, world"[..], b"RIFF\0\0\0\0WAVE", b"\0", b"%PDF-1.7"] {
            assert!(matches!(Format::of(other), Err(PictureError::NotAnImage)), "{other:?}");
        }
        for known in [&b"GIF89a......"[..], b"BM..........", b"II*\0........"] {
            assert!(matches!(Format::of(known), Err(PictureError::Unsupported(_))), "{known:?}");
        }
    }
}

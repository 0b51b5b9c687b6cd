//! `Thumbnail`: a smaller picture, encoded again.

use super::decode::Picture;
use super::error::PictureError;
use super::format::Format;
use super::shrink;
use crate::{MAX_MESSAGE_BYTES, v1};
use image::DynamicImage;
use image::codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder};

/// The longest edge in pixels when a request leaves it open.
pub const DEFAULT_MAX_EDGE: u32 = 256;

/// The longest edge in pixels that can be asked for.
pub const LARGEST_MAX_EDGE: u32 = 2_048;

const JPEG_QUALITY: u8 = 85;

/// Room in an answer for what is not the thumbnail.
const ANSWER_OVERHEAD_BYTES: usize = 64;

/// What is asked for, checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wish {
    max_edge: u32,
    format: Option<Format>,
}

impl Wish {
    /// Checks a request but for its picture.
    ///
    /// # Errors
    ///
    /// [`PictureError::Field`] for an edge over [`LARGEST_MAX_EDGE`] and for an
    /// unknown format.
    pub fn of(request: &v1::ThumbnailRequest) -> Result<Self, PictureError> {
        let max_edge = match request.max_edge {
            0 => DEFAULT_MAX_EDGE,
            edge if edge <= LARGEST_MAX_EDGE => edge,
            edge => {
                return Err(PictureError::Field {
                    field: "max_edge",
                    rule: format!("expected at most {LARGEST_MAX_EDGE} pixels, found {edge}"),
                });
            }
        };
        Ok(Self { max_edge, format: Format::requested(request.format)? })
    }
}

/// Makes the thumbnail. Takes up to seconds of CPU time.
///
/// # Errors
///
/// Those of [`Picture::decode`], and [`PictureError::ThumbnailTooLarge`].
pub fn make(image: &[u8], wish: Wish) -> Result<v1::ThumbnailResponse, PictureError> {
    let picture = Picture::decode(image)?;
    let format = wish.format.unwrap_or(picture.format);
    let pixels = match format {
        Format::Jpeg => shrink::flatten(picture.pixels),
        Format::Png | Format::WebP => picture.pixels,
    };
    let mut small = shrink::fit(pixels, wish.max_edge);
    small.apply_orientation(picture.orientation);
    let encoded = encode(&small, format)?;
    if encoded.len() > MAX_MESSAGE_BYTES - ANSWER_OVERHEAD_BYTES {
        return Err(PictureError::ThumbnailTooLarge(encoded.len()));
    }
    Ok(v1::ThumbnailResponse {
        image: encoded.into(),
        format: v1::ImageFormat::from(format).into(),
        width: small.width(),
        height: small.height(),
    })
}

fn encode(pixels: &DynamicImage, format: Format) -> Result<Vec<u8>, PictureError> {
    let mut encoded = Vec::new();
    match format {
        Format::Png => pixels.write_with_encoder(PngEncoder::new(&mut encoded)),
        Format::Jpeg => {
            pixels.write_with_encoder(JpegEncoder::new_with_quality(&mut encoded, JPEG_QUALITY))
        }
        Format::WebP => pixels.write_with_encoder(WebPEncoder::new_lossless(&mut encoded)),
    }
    .map_err(|error| PictureError::Internal(error.to_string()))?;
    Ok(encoded)
}

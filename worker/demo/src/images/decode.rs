//! From hostile bytes to pixels.

use super::error::PictureError;
use super::format::Format;
use super::outline::Outline;
use super::profile;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use std::borrow::Cow;
use std::io::Cursor;

/// The largest picture in pixels: more than any common camera makes.
pub const MAX_PIXELS: u64 = 64_000_000;

/// The most memory that a decoder may ask for in bytes, the decoded picture
/// included. It covers [`MAX_PIXELS`] with 16 bits in each of four channels.
pub const MAX_DECODER_BYTES: u64 = 512 * 1024 * 1024;

/// A decoded picture.
#[derive(Debug)]
pub struct Picture {
    /// How it was encoded.
    pub format: Format,
    /// The pixels as they were stored, in sRGB.
    pub pixels: DynamicImage,
    /// What has to be done to the pixels to show them upright. It is left to the
    /// caller, because turning a small copy is cheaper.
    pub orientation: Orientation,
}

impl Picture {
    /// Decodes a picture, or says what is wrong with it.
    ///
    /// The claimed size is checked before anything of that size is allocated,
    /// and checked again as the decoder understands it. Of an animation, the
    /// first frame counts.
    ///
    /// # Errors
    ///
    /// Every [`PictureError`] that speaks of the picture given.
    pub fn decode(bytes: &[u8]) -> Result<Self, PictureError> {
        if bytes.is_empty() {
            return Err(PictureError::Field {
                field: "image",
                rule: "expected an encoded picture, found nothing".to_owned(),
            });
        }
        let format = Format::of(bytes)?;
        let outline = Outline::of(format, bytes);
        check_pixels(outline.pixels)?;
        if !outline.complete {
            return Err(PictureError::Truncated);
        }
        if outline.printing {
            // The decoder would make RGB of them without their profile.
            let what = "a JPEG in printing colours (CMYK); convert it to RGB";
            return Err(PictureError::Unsupported(what.to_owned()));
        }
        let (file, colours) = match format {
            Format::Png => profile::of_png(bytes).map(|(file, found)| (file, Some(found)))?,
            Format::Jpeg | Format::WebP => (Cow::Borrowed(bytes), None),
        };

        let mut limits = Limits::default();
        limits.max_alloc = Some(MAX_DECODER_BYTES);
        let mut reader = ImageReader::with_format(Cursor::new(&*file), format.codec());
        reader.limits(limits);
        let mut decoder = reader.into_decoder().map_err(PictureError::from_decoder)?;
        let (width, height) = decoder.dimensions();
        check_pixels(u64::from(width) * u64::from(height))?;
        if width == 0 || height == 0 {
            return Err(PictureError::Corrupt("it has no pixels".to_owned()));
        }
        if decoder.total_bytes() > MAX_DECODER_BYTES {
            return Err(PictureError::TooLarge(format!("at most {MAX_DECODER_BYTES} bytes")));
        }
        let colours = match colours {
            Some(colours) => colours,
            None => profile::of_decoder(&mut decoder)?,
        };
        // A picture with damaged Exif data is shown as it was stored.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let pixels = DynamicImage::from_decoder(decoder).map_err(PictureError::from_decoder)?;
        Ok(Self { format, pixels: profile::to_srgb(pixels, &colours), orientation })
    }

    /// Width and height in pixels, upright.
    #[must_use]
    pub fn size(&self) -> (u32, u32) {
        let (width, height) = (self.pixels.width(), self.pixels.height());
        match self.orientation {
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH => (height, width),
            _ => (width, height),
        }
    }
}

fn check_pixels(pixels: u64) -> Result<(), PictureError> {
    if pixels > MAX_PIXELS {
        return Err(PictureError::TooLarge(format!("{pixels} pixels, at most {MAX_PIXELS}")));
    }
    Ok(())
}

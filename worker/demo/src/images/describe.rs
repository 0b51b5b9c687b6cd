//! `Describe`: what a picture looks like.

use super::decode::Picture;
use super::error::PictureError;
use super::{colours, hash, shrink};
use crate::v1;

/// The hash sees no more than nine by eight pixels; this is enough to be exact
/// about them, and cheap to turn upright.
const HASH_SAMPLE_EDGE: u32 = 512;

/// Describes a picture. Takes up to seconds of CPU time.
///
/// # Errors
///
/// Those of [`Picture::decode`].
pub fn make(image: &[u8]) -> Result<v1::DescribeResponse, PictureError> {
    let picture = Picture::decode(image)?;
    let (width, height) = picture.size();
    let dominant_colours = colours::dominant(&picture.pixels);
    let mut sample = shrink::flatten(shrink::fit(picture.pixels, HASH_SAMPLE_EDGE));
    sample.apply_orientation(picture.orientation);
    Ok(v1::DescribeResponse {
        format: v1::ImageFormat::from(picture.format).into(),
        width,
        height,
        dominant_colours,
        perceptual_hash: hash::difference(&sample),
    })
}

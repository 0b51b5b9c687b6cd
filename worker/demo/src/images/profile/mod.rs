//! From the colours of an embedded profile to sRGB.
//!
//! A picture's numbers mean the colours that its profile says. Thumbnails and descriptions
//! carry no profile, so that theirs are sRGB, as of every picture without one.

mod embedded;

pub(super) use embedded::{Embedded, of_decoder, of_png};

use image::DynamicImage;
use moxcms::{
    CicpProfile, ColorProfile, DataColorSpace, Layout, TransformExecutor, TransformOptions,
};
use std::sync::Arc;

/// The pixels in sRGB. Like a browser, it takes pixels to be sRGB already if their profile
/// cannot be read, or is for another kind of pixels.
pub(super) fn to_srgb(pixels: DynamicImage, embedded: &Embedded) -> DynamicImage {
    let profile = match embedded {
        Embedded::None => None,
        Embedded::Icc(bytes) => ColorProfile::new_from_slice(bytes).ok(),
        Embedded::CodePoints(points) => code_points(*points),
    };
    match profile {
        Some(profile) if profile.color_space == DataColorSpace::Rgb => {
            convert(pixels, &profile, false)
        }
        Some(profile) if profile.color_space == DataColorSpace::Gray => {
            convert(pixels, &profile, true)
        }
        _ => pixels,
    }
}

/// The profile of a `cICP` chunk: primaries, transfer function, matrix and range. Pictures
/// of high dynamic range are left as they are: sRGB does not hold them.
fn code_points([primaries, transfer, matrix, full]: [u8; 4]) -> Option<ColorProfile> {
    const PQ: u8 = 16;
    const HLG: u8 = 18;
    if matrix != 0 || full != 1 || matches!(transfer, PQ | HLG) {
        return None;
    }
    let points = CicpProfile {
        color_primaries: primaries.try_into().ok()?,
        transfer_characteristics: transfer.try_into().ok()?,
        matrix_coefficients: matrix.try_into().ok()?,
        full_range: true,
    };
    // It has no curves for points that are reserved.
    Some(ColorProfile::new_from_cicp(points)).filter(|profile| profile.red_trc.is_some())
}

/// Converts pixels by a profile for grey ones, or by one for RGB.
fn convert(pixels: DynamicImage, profile: &ColorProfile, grey: bool) -> DynamicImage {
    use DynamicImage::{
        ImageLuma8, ImageLuma16, ImageLumaA8, ImageLumaA16, ImageRgb8, ImageRgb16, ImageRgba8,
        ImageRgba16,
    };
    let srgb = if grey { grey_srgb() } else { ColorProfile::new_srgb() };
    let options = TransformOptions::default();
    let eight = |layout| profile.create_transform_8bit(layout, &srgb, layout, options).ok();
    let sixteen = |layout| profile.create_transform_16bit(layout, &srgb, layout, options).ok();
    // A grey picture may have a profile for RGB, in which grey is r = g = b.
    let mut pixels = match pixels {
        ImageLuma8(_) if !grey => ImageRgb8(pixels.into_rgb8()),
        ImageLumaA8(_) if !grey => ImageRgba8(pixels.into_rgba8()),
        ImageLuma16(_) if !grey => ImageRgb16(pixels.into_rgb16()),
        ImageLumaA16(_) if !grey => ImageRgba16(pixels.into_rgba16()),
        pixels => pixels,
    };
    let width = pixels.width() as usize;
    match &mut pixels {
        ImageLuma8(pixels) => rows(pixels, width, eight(Layout::Gray)),
        ImageLumaA8(pixels) => rows(pixels, width * 2, eight(Layout::GrayAlpha)),
        ImageRgb8(pixels) if !grey => rows(pixels, width * 3, eight(Layout::Rgb)),
        ImageRgba8(pixels) if !grey => rows(pixels, width * 4, eight(Layout::Rgba)),
        ImageLuma16(pixels) => rows(pixels, width, sixteen(Layout::Gray)),
        ImageLumaA16(pixels) => rows(pixels, width * 2, sixteen(Layout::GrayAlpha)),
        ImageRgb16(pixels) if !grey => rows(pixels, width * 3, sixteen(Layout::Rgb)),
        ImageRgba16(pixels) if !grey => rows(pixels, width * 4, sixteen(Layout::Rgba)),
        // A profile for grey pixels on coloured ones; no decoder has other pixels.
        _ => {}
    }
    pixels
}

/// Row by row, in place: a copy of all pixels would double what a large picture takes.
fn rows<V: Copy + Default>(
    values: &mut [V],
    width: usize,
    transform: Option<Arc<dyn TransformExecutor<V> + Send + Sync>>,
) {
    let Some(transform) = transform else { return };
    let mut stored = vec![V::default(); width];
    for row in values.chunks_exact_mut(width) {
        stored.copy_from_slice(row);
        // The lengths agree, which is all that can be wrong.
        let _ = transform.transform(&stored, row);
    }
}

/// Grey pixels with the tone curve of sRGB.
fn grey_srgb() -> ColorProfile {
    let mut grey = ColorProfile::new_gray_with_gamma(2.2);
    grey.gray_trc = ColorProfile::new_srgb().red_trc;
    grey
}

#[cfg(test)]
mod tests;

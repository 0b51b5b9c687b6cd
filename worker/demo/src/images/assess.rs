//! `Assess`: how good a picture is as a picture.

use super::decode::Picture;
use super::error::PictureError;
use super::shrink;
use crate::v1;
use image::{DynamicImage, GrayImage};

/// Pictures are compared at one size: what is sharp in a large one may be blurred when
/// looked at pixel by pixel.
const SAMPLE_EDGE: u32 = 512;

/// Assesses a picture. Takes up to seconds of CPU time.
///
/// # Errors
///
/// Those of [`Picture::decode`].
pub fn make(image: &[u8]) -> Result<v1::AssessResponse, PictureError> {
    let picture = Picture::decode(image)?;
    let sample = shrink::flatten(shrink::fit(picture.pixels, SAMPLE_EDGE));
    Ok(of(&sample))
}

fn of(pixels: &DynamicImage) -> v1::AssessResponse {
    let luma = pixels.to_luma8();
    let (brightness, contrast) = spread(luma.pixels().map(|pixel| f64::from(pixel.0[0]) / 255.0));
    let (_, sharpness) = spread(edges(&luma));
    v1::AssessResponse { brightness, contrast, sharpness }
}

/// The Laplacian of every pixel that has four neighbours.
fn edges(luma: &GrayImage) -> impl Iterator<Item = f64> + '_ {
    let (width, height) = luma.dimensions();
    let at = |x: u32, y: u32| f64::from(luma.get_pixel(x, y).0[0]) / 255.0;
    (1..height.saturating_sub(1)).flat_map(move |y| {
        (1..width.saturating_sub(1)).map(move |x| {
            at(x - 1, y) + at(x + 1, y) + at(x, y - 1) + at(x, y + 1) - 4.0 * at(x, y)
        })
    })
}

/// Mean and standard deviation; zero for nothing.
fn spread(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        sum += value;
        squares += value * value;
    }
    if count == 0.0 {
        return (0.0, 0.0);
    }
    let mean: f64 = sum / count;
    (mean, (squares / count - mean * mean).max(0.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Luma;

    fn picture(of_pixel: impl Fn(u32, u32) -> u8) -> v1::AssessResponse {
        let luma = GrayImage::from_fn(64, 64, |x, y| Luma([of_pixel(x, y)]));
        of(&DynamicImage::ImageLuma8(luma))
    }

    #[test]
    fn one_grey_has_neither_contrast_nor_edges() {
        let grey = picture(|_, _| 51);
        assert!((grey.brightness - 0.2).abs() < 1e-9);
        assert!(grey.contrast < 1e-6 && grey.sharpness < 1e-6);
    }

    #[test]
    fn a_board_of_squares_is_sharper_than_a_slope_of_the_same_contrast() {
        let board = picture(|x, y| if (x / 8 + y / 8) % 2 == 0 { 0 } else { 255 });
        let slope = picture(|x, _| u8::try_from(x * 4).unwrap());
        assert!((board.brightness - 0.5).abs() < 0.01 && (board.contrast - 0.5).abs() < 0.01);
        assert!(board.sharpness > 10.0 * slope.sharpness, "{board:?} {slope:?}");
    }

    #[test]
    fn a_single_pixel_is_a_picture() {
        let dot = of(&DynamicImage::new_luma8(1, 1));
        assert_eq!((dot.brightness, dot.contrast, dot.sharpness), (0.0, 0.0, 0.0));
    }
}

//! A hash that similar pictures nearly share.

use image::DynamicImage;
use image::imageops::FilterType;

const COLUMNS: u32 = 9;
const ROWS: u32 = 8;

/// The 64-bit difference hash of an upright, opaque picture.
///
/// The picture is reduced to nine by eight grey pixels. Row by row from the top
/// left, highest bit first, a bit is 1 where a pixel is brighter than its right
/// neighbour. The number of bits in which two hashes differ says how different
/// the pictures are: below about ten they are versions of one picture.
#[must_use]
pub fn difference(pixels: &DynamicImage) -> u64 {
    // Grey first: averages of grey and grey averages are the same, and one
    // channel is less work than three.
    let grey = DynamicImage::ImageLuma8(pixels.to_luma8());
    let small = grey.resize_exact(COLUMNS, ROWS, FilterType::Triangle).into_luma8();
    let mut hash = 0;
    for y in 0..ROWS {
        for x in 0..COLUMNS - 1 {
            let falls = small.get_pixel(x, y).0 > small.get_pixel(x + 1, y).0;
            hash = hash << 1 | u64::from(falls);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, Luma};

    #[test]
    fn every_bit_says_whether_brightness_falls_to_the_right() {
        let rising = GrayImage::from_fn(90, 80, |x, _| Luma([u8::try_from(x * 2).unwrap()]));
        assert_eq!(difference(&DynamicImage::ImageLuma8(rising.clone())), 0);
        let falling = DynamicImage::ImageLuma8(rising).fliph();
        assert_eq!(difference(&falling), u64::MAX);
        let split = GrayImage::from_fn(90, 80, |x, y| {
            Luma([u8::try_from(if y < 40 { 178 - x * 2 } else { x * 2 }).unwrap()])
        });
        assert_eq!(difference(&DynamicImage::ImageLuma8(split)), 0xffff_ffff_0000_0000);
    }

    #[test]
    fn a_single_pixel_has_a_hash() {
        assert_eq!(difference(&DynamicImage::new_luma8(1, 1)), 0);
    }
}

//! The colours that cover most of a picture.

use crate::v1::DominantColour;
use image::{DynamicImage, GenericImageView, Rgba};
use std::collections::HashMap;

/// The most colours that are named.
pub const MAX_COLOURS: usize = 5;

/// The most pixels that are looked at: a larger picture is sampled on a grid.
const MAX_SAMPLES: f64 = 262_144.0;

/// Colours that differ by less than this, as a distance in RGB, count as one: a
/// fifth of the way from black to white, which leaves one word for each.
const MERGE_DISTANCE_SQUARED: i64 = 64 * 64;

/// Pixels with less than this opacity have no colour.
const MIN_ALPHA: u8 = 128;

/// Up to [`MAX_COLOURS`] colours and the part of the picture that each covers,
/// the largest first. Each is the mean of similar pixels. Transparent parts
/// belong to no colour, so the shares may add up to less than 1.
#[must_use]
pub fn dominant(pixels: &DynamicImage) -> Vec<DominantColour> {
    let (bins, samples) = quantize(pixels);
    let mut groups: Vec<Group> = Vec::new();
    for bin in bins {
        match groups.iter_mut().find(|group| group.is_near(&bin)) {
            Some(group) => group.add(&bin),
            None => groups.push(bin),
        }
    }
    largest_first(&mut groups);
    groups
        .iter()
        .take(MAX_COLOURS)
        .map(|group| DominantColour {
            rgb: group.mean().into_iter().fold(0, |rgb, channel| rgb << 8 | u32::from(channel)),
            share: f64::from(group.count) / f64::from(samples),
        })
        .collect()
}

/// Pixels counted as one colour.
#[derive(Clone, Debug, Default)]
struct Group {
    count: u32,
    sums: [u64; 3],
}

impl Group {
    fn mean(&self) -> [u8; 3] {
        let count = u64::from(self.count.max(1));
        self.sums.map(|sum| u8::try_from((sum + count / 2) / count).unwrap_or(u8::MAX))
    }

    fn is_near(&self, other: &Self) -> bool {
        let pairs = self.mean().into_iter().zip(other.mean());
        let distance: i64 = pairs.map(|(a, b)| (i64::from(a) - i64::from(b)).pow(2)).sum();
        distance < MERGE_DISTANCE_SQUARED
    }

    fn add(&mut self, other: &Self) {
        self.count += other.count;
        for (sum, more) in self.sums.iter_mut().zip(other.sums) {
            *sum += more;
        }
    }
}

/// Pixels whose channels agree in the upper four bits, the largest group first;
/// and how many pixels were looked at, transparent ones included.
fn quantize(pixels: &DynamicImage) -> (Vec<Group>, u32) {
    let (width, height) = pixels.dimensions();
    let step = grid_step(width, height);
    let mut bins: HashMap<[u8; 3], Group> = HashMap::new();
    let mut samples = 0;
    for y in (0..height).step_by(step) {
        for x in (0..width).step_by(step) {
            samples += 1;
            let Rgba([r, g, b, alpha]) = pixels.get_pixel(x, y);
            if alpha >= MIN_ALPHA {
                let pixel = Group { count: 1, sums: [r, g, b].map(u64::from) };
                bins.entry([r >> 4, g >> 4, b >> 4]).or_default().add(&pixel);
            }
        }
    }
    let mut bins: Vec<_> = bins.into_values().collect();
    largest_first(&mut bins);
    (bins, samples)
}

/// Equal counts are ordered by colour, so that equal pictures get equal answers.
fn largest_first(groups: &mut [Group]) {
    groups.sort_by_key(|group| (std::cmp::Reverse(group.count), group.mean()));
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn grid_step(width: u32, height: u32) -> usize {
    // The root of the largest area is far below the limits of the type.
    (f64::from(width) * f64::from(height) / MAX_SAMPLES).sqrt().ceil().max(1.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{RgbImage, RgbaImage};

    #[test]
    fn the_colours_of_a_two_coloured_picture_are_exact() {
        let pixels = RgbImage::from_fn(40, 10, |x, _| {
            image::Rgb(if x < 30 { [0x12, 0x34, 0x56] } else { [0xfe, 0xdc, 0xba] })
        });
        let colours = dominant(&DynamicImage::ImageRgb8(pixels));
        let found: Vec<_> = colours.iter().map(|colour| (colour.rgb, colour.share)).collect();
        assert_eq!(found, [(0x12_34_56, 0.75), (0xfe_dc_ba, 0.25)]);
    }

    #[test]
    fn shares_are_sorted_and_never_more_than_the_whole() {
        let pixels = RgbImage::from_fn(900, 700, |x, y| {
            let channel = |n: u32| u8::try_from(n % 256).unwrap_or_default();
            image::Rgb([channel(x), channel(y), channel(x * y / 100)])
        });
        let colours = dominant(&DynamicImage::ImageRgb8(pixels));
        assert_eq!(colours.len(), MAX_COLOURS);
        assert!(colours.is_sorted_by(|a, b| a.share >= b.share));
        assert!(colours.iter().map(|colour| colour.share).sum::<f64>() <= 1.0);
    }

    #[test]
    fn what_is_transparent_has_no_colour() {
        let pixels =
            RgbaImage::from_fn(4, 1, |x, _| Rgba([255, 0, 0, if x == 0 { 255 } else { 9 }]));
        let colours = dominant(&DynamicImage::ImageRgba8(pixels));
        assert_eq!(colours.len(), 1);
        assert_eq!((colours[0].rgb, colours[0].share), (0xff_00_00, 0.25));
        assert!(dominant(&DynamicImage::ImageRgba8(RgbaImage::new(4, 4))).is_empty());
    }

    #[test]
    fn noise_around_a_colour_is_that_colour() {
        let pixels = RgbImage::from_fn(64, 64, |x, y| {
            let noise = u8::try_from((x * 7 + y * 13) % 17).unwrap_or_default();
            image::Rgb([120 + noise, 60 + noise, 20 + noise])
        });
        let colours = dominant(&DynamicImage::ImageRgb8(pixels));
        assert_eq!(colours.len(), 1);
        assert!((colours[0].share - 1.0).abs() < f64::EPSILON);
    }
}

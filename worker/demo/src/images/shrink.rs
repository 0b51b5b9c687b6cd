//! Makes pictures smaller.

use image::imageops::FilterType;
use image::{DynamicImage, RgbImage, RgbaImage};

/// Shrinks a picture so that neither edge is longer than `max_edge` pixels, and
/// brings it to 8 bits per channel. The aspect ratio stays, as far as whole
/// pixels allow; nothing grows, and no edge becomes 0.
///
/// Where the picture is transparent its colour does not count: it would show as
/// a fringe around what is opaque.
#[must_use]
pub fn fit(pixels: DynamicImage, max_edge: u32) -> DynamicImage {
    let pixels = eight_bits(pixels);
    let size = (pixels.width(), pixels.height());
    let target = fitted(size, max_edge);
    if target == size {
        return pixels;
    }
    match pixels {
        DynamicImage::ImageRgba8(mut pixels) => {
            premultiply(&mut pixels);
            let mut small = scale(DynamicImage::ImageRgba8(pixels), target).into_rgba8();
            unmultiply(&mut small);
            DynamicImage::ImageRgba8(small)
        }
        opaque => scale(opaque, target),
    }
}

/// The picture on a white background, for encodings without transparency.
#[must_use]
pub fn flatten(pixels: DynamicImage) -> DynamicImage {
    if !pixels.color().has_alpha() {
        return eight_bits(pixels);
    }
    let pixels = pixels.into_rgba8();
    let mut flat = RgbImage::new(pixels.width(), pixels.height());
    for (from, to) in pixels.pixels().zip(flat.pixels_mut()) {
        let [colour @ .., alpha] = from.0;
        to.0 = colour.map(|channel| times(channel, alpha) + (255 - alpha));
    }
    DynamicImage::ImageRgb8(flat)
}

fn eight_bits(pixels: DynamicImage) -> DynamicImage {
    match pixels {
        DynamicImage::ImageLuma8(_) | DynamicImage::ImageRgb8(_) | DynamicImage::ImageRgba8(_) => {
            pixels
        }
        DynamicImage::ImageLuma16(_) => DynamicImage::ImageLuma8(pixels.into_luma8()),
        _ if pixels.color().has_alpha() => DynamicImage::ImageRgba8(pixels.into_rgba8()),
        _ => DynamicImage::ImageRgb8(pixels.into_rgb8()),
    }
}

fn fitted((width, height): (u32, u32), max_edge: u32) -> (u32, u32) {
    let longest = width.max(height);
    if longest <= max_edge {
        return (width, height);
    }
    let shorten = |edge: u32| {
        let edge =
            (u64::from(edge) * u64::from(max_edge) + u64::from(longest) / 2) / u64::from(longest);
        u32::try_from(edge).unwrap_or(max_edge).max(1)
    };
    (shorten(width), shorten(height))
}

/// Averages down to twice the size first: the good filter keeps a copy with
/// floating-point channels, which would be huge for a huge picture.
fn scale(pixels: DynamicImage, (width, height): (u32, u32)) -> DynamicImage {
    let halfway = (pixels.width().min(width * 2), pixels.height().min(height * 2));
    let pixels = if halfway == (pixels.width(), pixels.height()) {
        pixels
    } else {
        pixels.thumbnail_exact(halfway.0, halfway.1)
    };
    pixels.resize_exact(width, height, FilterType::CatmullRom)
}

fn premultiply(pixels: &mut RgbaImage) {
    for pixel in pixels.pixels_mut() {
        let [colour @ .., alpha] = pixel.0;
        let [r, g, b] = colour.map(|channel| times(channel, alpha));
        pixel.0 = [r, g, b, alpha];
    }
}

fn unmultiply(pixels: &mut RgbaImage) {
    for pixel in pixels.pixels_mut() {
        let [colour @ .., alpha] = pixel.0;
        let [r, g, b] = colour.map(|channel| match u16::from(alpha) {
            0 => 0,
            alpha => {
                let channel = (u16::from(channel) * 255 + alpha / 2) / alpha;
                u8::try_from(channel).unwrap_or(u8::MAX)
            }
        });
        pixel.0 = [r, g, b, alpha];
    }
}

/// The product of two fractions of 255, rounded.
fn times(a: u8, b: u8) -> u8 {
    u8::try_from((u16::from(a) * u16::from(b) + 127) / 255).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgba;

    #[test]
    fn the_longest_edge_is_the_one_asked_for_and_no_edge_vanishes() {
        for (size, max_edge, expected) in [
            ((640, 480), 256, (256, 192)),
            ((480, 640), 256, (192, 256)),
            ((100, 100), 256, (100, 100)),
            ((256, 256), 256, (256, 256)),
            ((1, 60_000), 256, (1, 256)),
            ((60_000, 1), 1, (1, 1)),
            ((1_000, 999), 10, (10, 10)),
            ((3, 2), 2, (2, 1)),
        ] {
            assert_eq!(fitted(size, max_edge), expected, "{size:?} in {max_edge}");
        }
    }

    #[test]
    fn a_hidden_colour_leaves_no_fringe() {
        let hidden = |x: u32, _| Rgba(if x < 50 { [0, 255, 0, 0] } else { [200, 0, 0, 255] });
        let pixels = DynamicImage::ImageRgba8(RgbaImage::from_fn(101, 101, hidden));
        let small = fit(pixels, 10).into_rgba8();
        assert!(small.pixels().any(|pixel| pixel.0[3] > 0 && pixel.0[3] < 255), "no edge");
        for pixel in small.pixels().filter(|pixel| pixel.0[3] > 16) {
            assert!(pixel.0[1] <= 8, "green shines through: {pixel:?}");
        }
    }

    #[test]
    fn nothing_is_white_when_flattened() {
        let pixels =
            RgbaImage::from_fn(3, 1, |x, _| Rgba([0, 100, 200, [0, 128, 255][x as usize]]));
        let flat = flatten(DynamicImage::ImageRgba8(pixels)).into_rgb8();
        let colours: Vec<_> = flat.pixels().map(|pixel| pixel.0).collect();
        assert_eq!(colours, [[255, 255, 255], [127, 177, 227], [0, 100, 200]]);
    }
}

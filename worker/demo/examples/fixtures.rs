//! Draws the pictures of `tests/fixtures`: `cargo run -p queuebridge-demo
//! --example fixtures -- tests/fixtures`. The same program draws the same
//! pixels every time; there is no randomness in it.

use image::codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder};
use image::{DynamicImage, ImageResult, Rgb, RgbImage, Rgba, RgbaImage};
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;

fn main() -> ImageResult<()> {
    let directory =
        PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "tests/fixtures".into()));
    let create = |name| File::create(directory.join(name)).map(BufWriter::new);
    shapes().write_with_encoder(PngEncoder::new(create("shapes.png")?))?;
    hills().write_with_encoder(JpegEncoder::new_with_quality(create("hills.jpg")?, 85))?;
    target().write_with_encoder(WebPEncoder::new_lossless(create("target.webp")?))
}

/// A blue gradient with a yellow disc, a red bar and a white frame.
fn shapes() -> DynamicImage {
    DynamicImage::ImageRgb8(RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        let border = x < 12 || y < 12 || x >= WIDTH - 12 || y >= HEIGHT - 12;
        if border {
            Rgb([255, 255, 255])
        } else if distance(x, y, 200, 190) < 110.0 {
            Rgb([250, 210, 40])
        } else if (360..560).contains(&x) && (260..400).contains(&y) {
            Rgb([200, 40, 50])
        } else {
            Rgb([20, channel(f64::from(y) / 6.0 + 40.0), channel(f64::from(x) / 5.0 + 100.0)])
        }
    }))
}

/// Three rows of green hills under an evening sky with a low sun.
fn hills() -> DynamicImage {
    DynamicImage::ImageRgb8(RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        let ridge = |base: f64, height: f64, length: f64| {
            base - height * (f64::from(x) / length).sin() < f64::from(y)
        };
        if ridge(400.0, 30.0, 60.0) {
            Rgb([24, 70, 36])
        } else if ridge(340.0, 45.0, 95.0) {
            Rgb([52, 110, 58])
        } else if ridge(280.0, 35.0, 140.0) {
            Rgb([104, 150, 96])
        } else if distance(x, y, 470, 200) < 60.0 {
            Rgb([255, 244, 214])
        } else {
            let height = f64::from(y) / 300.0;
            Rgb([channel(90.0 + 150.0 * height), channel(110.0 + 50.0 * height), 150])
        }
    }))
}

/// Red and white rings on a transparent ground.
fn target() -> DynamicImage {
    DynamicImage::ImageRgba8(RgbaImage::from_fn(WIDTH, HEIGHT, |x, y| {
        match distance(x, y, WIDTH / 2, HEIGHT / 2) / 40.0 {
            ring if ring >= 5.0 => Rgba([0, 0, 0, 0]),
            ring if channel(ring.floor()).is_multiple_of(2) => Rgba([190, 20, 40, 255]),
            _ => Rgba([250, 250, 250, 255]),
        }
    }))
}

fn distance(x: u32, y: u32, to_x: u32, to_y: u32) -> f64 {
    (f64::from(x) - f64::from(to_x)).hypot(f64::from(y) - f64::from(to_y))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn channel(value: f64) -> u8 {
    // The cast saturates, which is what a channel should do.
    value as u8
}

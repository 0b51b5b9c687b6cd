use super::*;
use crate::images::decode::Picture;
use crate::images::error::PictureError;
use image::codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder};
use image::{ImageEncoder, Luma, LumaA, Rgb, RgbImage, Rgba};
use std::borrow::Cow;

/// A picture of one colour.
fn plain(colour: [u8; 3]) -> DynamicImage {
    DynamicImage::ImageRgb8(RgbImage::from_pixel(16, 16, Rgb(colour)))
}

fn encoded(pixels: &DynamicImage, mut encoder: impl ImageEncoder, icc: &[u8]) {
    encoder.set_icc_profile(icc.to_vec()).unwrap();
    pixels.write_with_encoder(encoder).unwrap();
}

/// The picture in each encoding, with this profile.
fn files(pixels: &DynamicImage, icc: &[u8]) -> [Vec<u8>; 3] {
    let mut files: [Vec<u8>; 3] = Default::default();
    let [png, jpeg, webp] = &mut files;
    encoded(pixels, PngEncoder::new(png), icc);
    encoded(pixels, JpegEncoder::new_with_quality(jpeg, 100), icc);
    encoded(pixels, WebPEncoder::new_lossless(webp), icc);
    files
}

fn middle(file: &[u8]) -> [u8; 3] {
    let pixels = Picture::decode(file).unwrap().pixels;
    pixels.to_rgb8().get_pixel(8, 8).0
}

fn assert_near(found: [u8; 3], expected: [u8; 3]) {
    let near = found.iter().zip(expected).all(|(found, expected)| found.abs_diff(expected) <= 2);
    assert!(near, "{found:?} is not {expected:?}");
}

/// A colour in sRGB: light by `curve`, then by the matrix of linear values.
fn in_srgb(colour: [u8; 3], curve: impl Fn(f64) -> f64, matrix: [[f64; 3]; 3]) -> [u8; 3] {
    let [r, g, b] = colour.map(|value| curve(f64::from(value) / 255.0));
    matrix.map(|[x, y, z]| {
        let value: f64 = (x * r + y * g + z * b).clamp(0.0, 1.0);
        let value = if value <= 0.003_130_8 {
            value * 12.92
        } else {
            1.055 * value.powf(1.0 / 2.4) - 0.055
        };
        format!("{:.0}", value * 255.0).parse().unwrap()
    })
}

/// Of Display P3, by the matrix between both, which have the same white and curve.
fn p3_in_srgb(colour: [u8; 3]) -> [u8; 3] {
    let curve = |value: f64| {
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    let matrix = [
        [1.224_940, -0.224_940, 0.0],
        [-0.042_057, 1.042_057, 0.0],
        [-0.019_638, -0.078_636, 1.098_274],
    ];
    in_srgb(colour, curve, matrix)
}

/// Of Adobe RGB (1998), by the matrix between both, which have the same white.
fn adobe_in_srgb(colour: [u8; 3]) -> [u8; 3] {
    let matrix = [[1.398_3, -0.398_3, 0.0], [0.0, 1.0, 0.0], [0.0, -0.042_9, 1.042_9]];
    in_srgb(colour, |value| value.powf(2.199_218_75), matrix)
}

/// A chunk of a PNG, put in front of the pixels.
fn with_chunk(png: &[u8], kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let at = png.windows(4).position(|kind| kind == b"IDAT").unwrap() - 4;
    let mut chunk = u32::try_from(data.len()).unwrap().to_be_bytes().to_vec();
    chunk.extend([&kind[..], data].concat());
    let checksum = crate::images::tests::crc32(&chunk[4..]);
    chunk.extend(checksum.to_be_bytes());
    [&png[..at], &chunk, &png[at..]].concat()
}

fn without_profile(pixels: &DynamicImage) -> Vec<u8> {
    let mut png = Vec::new();
    pixels.write_with_encoder(PngEncoder::new(&mut png)).unwrap();
    png
}

#[test]
fn colours_of_phones_are_shown_as_they_are_meant() {
    let p3 = ColorProfile::new_display_p3().encode().unwrap();
    for colour in [[200, 100, 50], [60, 180, 90], [255, 0, 0], [0, 255, 0], [128, 128, 128]] {
        for file in files(&plain(colour), &p3) {
            assert_near(middle(&file), p3_in_srgb(colour));
        }
    }
    // It is not the same colour by far.
    assert_ne!(p3_in_srgb([60, 180, 90])[0], 60);
}

#[test]
fn colours_of_cameras_are_shown_as_they_are_meant() {
    let adobe = ColorProfile::new_adobe_rgb().encode().unwrap();
    let srgb = ColorProfile::new_srgb().encode().unwrap();
    for colour in [[150, 100, 80], [60, 180, 90], [255, 255, 255]] {
        for file in files(&plain(colour), &adobe) {
            assert_near(middle(&file), adobe_in_srgb(colour));
        }
        for file in files(&plain(colour), &srgb) {
            assert_near(middle(&file), colour);
        }
    }
    assert!(adobe_in_srgb([150, 100, 80])[0] > 155);
}

#[test]
fn a_picture_with_a_profile_is_still_upright() {
    // The Exif block of one entry: orientation (0x0112) is 6.
    let exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let p3 = ColorProfile::new_display_p3().encode().unwrap();
    let (mut jpeg, mut webp) = (Vec::new(), Vec::new());
    let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, 100);
    encoder.set_exif_metadata(exif.to_vec()).unwrap();
    encoded(&plain([60, 180, 90]), encoder, &p3);
    let mut encoder = WebPEncoder::new_lossless(&mut webp);
    encoder.set_exif_metadata(exif.to_vec()).unwrap();
    encoded(&plain([60, 180, 90]), encoder, &p3);
    let [png, ..] = files(&plain([60, 180, 90]), &p3);
    for file in [with_chunk(&png, b"eXIf", exif), jpeg, webp] {
        let picture = Picture::decode(&file).unwrap();
        assert_eq!(picture.orientation, image::metadata::Orientation::Rotate90);
        assert_near(middle(&file), p3_in_srgb([60, 180, 90]));
    }
}

#[test]
fn every_kind_of_pixels_is_converted_and_keeps_its_kind() {
    let icc = Embedded::Icc(ColorProfile::new_display_p3().encode().unwrap());
    let (colour, expected) = ([60, 180, 90], p3_in_srgb([60, 180, 90]));
    let rgb = plain(colour);
    for pixels in [
        rgb.clone(),
        DynamicImage::ImageRgba8(rgb.to_rgba8()),
        DynamicImage::ImageRgb16(rgb.to_rgb16()),
        DynamicImage::ImageRgba16(rgb.to_rgba16()),
    ] {
        let kind = pixels.color();
        let converted = to_srgb(pixels, &icc);
        assert_eq!(converted.color(), kind);
        assert_near(converted.to_rgb8().get_pixel(3, 3).0, expected);
    }
    let mut clear = rgb.to_rgba8();
    clear.put_pixel(1, 1, Rgba([60, 180, 90, 77]));
    let converted = to_srgb(DynamicImage::ImageRgba8(clear), &icc).into_rgba8();
    assert_eq!(converted.get_pixel(1, 1).0[3], 77);
}

#[test]
fn grey_profiles_are_for_grey_pixels() {
    let linear = Embedded::Icc(ColorProfile::new_gray_with_gamma(1.0).encode().unwrap());
    let grey = DynamicImage::ImageRgb8(RgbImage::from_pixel(4, 4, Rgb([55, 55, 55])));
    // 55/255 of the light is 0.5 in the curve of sRGB.
    let eight = to_srgb(DynamicImage::ImageLuma8(grey.to_luma8()), &linear);
    assert!(matches!(eight.as_luma8().unwrap().get_pixel(0, 0), Luma([126..=130])));
    let alpha = to_srgb(DynamicImage::ImageLumaA8(grey.to_luma_alpha8()), &linear);
    assert!(matches!(alpha.as_luma_alpha8().unwrap().get_pixel(0, 0), LumaA([126..=130, 255])));
    let sixteen = to_srgb(DynamicImage::ImageLuma16(grey.to_luma16()), &linear);
    assert!(matches!(sixteen.to_luma8().get_pixel(0, 0), Luma([126..=130])));
    // One for grey says nothing of colours, and grey is the same in a wide profile.
    assert_eq!(to_srgb(grey.clone(), &linear), grey);
    let p3 = Embedded::Icc(ColorProfile::new_display_p3().encode().unwrap());
    let converted = to_srgb(DynamicImage::ImageLuma8(grey.to_luma8()), &p3);
    assert_near(converted.to_rgb8().get_pixel(0, 0).0, [55, 55, 55]);
}

#[test]
fn code_points_come_before_a_profile() {
    let adobe = ColorProfile::new_adobe_rgb().encode().unwrap();
    let [png, ..] = files(&plain([60, 180, 90]), &adobe);
    let p3 = with_chunk(&png, b"cICP", &[12, 13, 0, 1]);
    assert_near(middle(&p3), p3_in_srgb([60, 180, 90]));
    let bare = without_profile(&plain([60, 180, 90]));
    assert_near(middle(&with_chunk(&bare, b"cICP", &[12, 13, 0, 1])), p3_in_srgb([60, 180, 90]));
    // sRGB itself, high dynamic range, and what is reserved: as they are.
    for points in [[1, 13, 0, 1], [9, 16, 0, 1], [9, 18, 0, 1], [0, 13, 0, 1], [12, 99, 0, 1]] {
        assert_near(middle(&with_chunk(&bare, b"cICP", &points)), [60, 180, 90]);
    }
}

#[test]
fn a_profile_that_cannot_be_read_is_none() {
    let lab = ColorProfile::new_lab().encode().unwrap_or_default();
    for icc in [&b"no profile"[..], &[0; 200], &lab] {
        for file in files(&plain([60, 180, 90]), icc) {
            assert_near(middle(&file), [60, 180, 90]);
        }
    }
    let bare = without_profile(&plain([60, 180, 90]));
    for data in [&b""[..], b"name", b"name\0", b"name\0\x01abc", b"name\0\0abc", &[b'x'; 100]] {
        assert_near(middle(&with_chunk(&bare, b"iCCP", data)), [60, 180, 90]);
    }
}

#[test]
fn a_damaged_profile_never_ends_in_a_panic() {
    let whole = ColorProfile::new_display_p3().encode().unwrap();
    for position in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[position] ^= flip;
            let _ = to_srgb(plain([60, 180, 90]), &Embedded::Icc(damaged));
        }
        let _ = to_srgb(plain([60, 180, 90]), &Embedded::Icc(whole[..position].to_vec()));
    }
}

/// This many zeros, compressed.
fn bomb(bytes: usize) -> Vec<u8> {
    let mut compressed = fdeflate::Compressor::new(Vec::new()).unwrap();
    let piece = vec![0; 1024 * 1024];
    for _ in 0..bytes / piece.len() {
        compressed.write_data(&piece).unwrap();
    }
    compressed.finish().unwrap()
}

#[test]
fn what_metadata_inflates_to_is_limited_and_texts_are_never_inflated() {
    let bare = without_profile(&plain([60, 180, 90]));
    let large = bomb(64 * 1024 * 1024);
    let profile = [&b"icc\0\0"[..], &large].concat();
    let file = with_chunk(&bare, b"iCCP", &profile);
    let refused = Picture::decode(&file).unwrap_err();
    assert!(matches!(refused, PictureError::TooLarge(_)), "{refused:?}");

    let (small, four) = (bomb(1024 * 1024), bomb(4 * 1024 * 1024));
    for (inflated, data) in [(1024 * 1024, small), (4 * 1024 * 1024, four)] {
        let file = with_chunk(&bare, b"iCCP", &[&b"icc\0\0"[..], &data].concat());
        let (kept, found) = of_png(&file).unwrap();
        assert_eq!((&*kept, found), (&*bare, Embedded::Icc(vec![0; inflated])));
    }

    let text = [&b"Raw profile type exif\0\0"[..], &large].concat();
    let international = [&b"XML:com.adobe.xmp\0\x01\0\0\0"[..], &large].concat();
    for (kind, data) in [(b"zTXt", &text), (b"iTXt", &international), (b"tEXt", &text)] {
        let file = with_chunk(&bare, kind, data);
        assert_eq!(of_png(&file).unwrap(), (Cow::Borrowed(&*bare), Embedded::None));
        assert_near(middle(&file), [60, 180, 90]);
    }
}

#[test]
fn a_large_profile_of_a_jpeg_or_webp_is_refused() {
    let mut profile = ColorProfile::new_display_p3().encode().unwrap();
    for (length, fits) in [(4 * 1024 * 1024, true), (4 * 1024 * 1024 + 1, false)] {
        profile.resize(length, 0);
        let [_, jpeg, webp] = files(&plain([60, 180, 90]), &profile);
        for file in [jpeg, webp] {
            match Picture::decode(&file) {
                Ok(_) => assert!(fits),
                Err(PictureError::TooLarge(_)) => assert!(!fits),
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

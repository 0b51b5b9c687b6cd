//! The service as its callers see it, hostile ones included.

use super::*;
use crate::refusal::DOMAIN;
use crate::v1::images_server::Images as _;
use bytes::Bytes;
use image::codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder};
use image::{DynamicImage, ImageEncoder, Rgb, RgbImage, Rgba, RgbaImage};
use tonic::Code;
use tonic_types::StatusExt;
use v1::ImageFormat::{Jpeg, Png, Unspecified, Webp};

const FIXTURES: [(&str, v1::ImageFormat); 3] =
    [("shapes.png", Png), ("hills.jpg", Jpeg), ("target.webp", Webp)];

fn fixture(name: &str) -> Bytes {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures");
    std::fs::read(format!("{directory}/{name}")).unwrap().into()
}

fn png(pixels: &DynamicImage) -> Bytes {
    let mut encoded = Vec::new();
    pixels.write_with_encoder(PngEncoder::new(&mut encoded)).unwrap();
    encoded.into()
}

fn thumbnail_of(image: Bytes, max_edge: u32, format: v1::ImageFormat) -> v1::ThumbnailRequest {
    v1::ThumbnailRequest { image, max_edge, format: format.into() }
}

async fn thumbnail(request: v1::ThumbnailRequest) -> Result<v1::ThumbnailResponse, Status> {
    Images::new().thumbnail(Request::new(request)).await.map(Response::into_inner)
}

async fn describe(image: Bytes) -> Result<v1::DescribeResponse, Status> {
    let request = Request::new(v1::DescribeRequest { image });
    Images::new().describe(request).await.map(Response::into_inner)
}

async fn assess(image: Bytes) -> Result<v1::AssessResponse, Status> {
    let request = Request::new(v1::AssessRequest { image });
    Images::new().assess(request).await.map(Response::into_inner)
}

async fn analyze(image: Bytes) -> Result<v1::AnalyzeResponse, Status> {
    let request = Request::new(v1::AnalyzeRequest { image });
    Images::new().analyze(request).await.map(Response::into_inner)
}

/// Every method refuses the picture, for one reason, and name the field.
async fn refused(image: Bytes, reason: &str) {
    let statuses = [
        describe(image.clone()).await.expect_err(reason),
        assess(image.clone()).await.expect_err(reason),
        analyze(image.clone()).await.expect_err(reason),
        thumbnail(thumbnail_of(image, 0, Unspecified)).await.expect_err(reason),
    ];
    for status in statuses {
        assert_refused(&status, reason, "image");
    }
}

fn assert_refused(status: &Status, reason: &str, field: &str) {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!((info.domain.as_str(), info.reason.as_str()), (DOMAIN, reason), "{status:?}");
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, field);
}

#[tokio::test]
async fn an_analysis_is_what_the_others_say() {
    let image = fixture("hills.jpg");
    let all = analyze(image.clone()).await.unwrap();
    assert_eq!(all.description, Some(describe(image.clone()).await.unwrap()));
    assert_eq!(all.assessment, Some(assess(image.clone()).await.unwrap()));
    let small = thumbnail(thumbnail_of(image, 0, Unspecified)).await.unwrap();
    assert_eq!(all.thumbnail, Some(small));
}

#[tokio::test]
async fn every_format_becomes_every_format() {
    for (name, from) in FIXTURES {
        for to in [Unspecified, Png, Jpeg, Webp] {
            let response = thumbnail(thumbnail_of(fixture(name), 0, to)).await.unwrap();
            let expected = if to == Unspecified { from } else { to };
            assert_eq!(response.format(), expected, "{name}");
            assert_eq!((response.width, response.height), (256, 192), "{name}");
            let described = describe(response.image).await.unwrap();
            assert_eq!(described.format(), expected, "{name}");
            assert_eq!((described.width, described.height), (256, 192), "{name}");
        }
    }
}

#[tokio::test]
async fn aspect_ratios_hold_and_nothing_grows() {
    for (size, max_edge, expected) in [
        ((1, 5_000), 100, (1, 100)),
        ((5_000, 1), 100, (100, 1)),
        ((7, 3), 2_048, (7, 3)),
        ((1, 1), 1, (1, 1)),
        ((300, 200), 1, (1, 1)),
        ((300, 200), 150, (150, 100)),
    ] {
        let image = png(&DynamicImage::new_rgb8(size.0, size.1));
        for format in [Png, Jpeg, Webp] {
            let request = thumbnail_of(image.clone(), max_edge, format);
            let response = thumbnail(request).await.unwrap();
            assert_eq!((response.width, response.height), expected, "{size:?} as {format:?}");
        }
    }
}

#[tokio::test]
async fn all_kinds_of_pixels_are_read() {
    let pixels = DynamicImage::ImageRgb8(RgbImage::from_pixel(300, 300, Rgb([90, 90, 90])));
    for pixels in [
        DynamicImage::ImageLuma8(pixels.to_luma8()),
        DynamicImage::ImageLuma16(pixels.to_luma16()),
        DynamicImage::ImageLumaA8(pixels.to_luma_alpha8()),
        DynamicImage::ImageLumaA16(pixels.to_luma_alpha16()),
        DynamicImage::ImageRgb16(pixels.to_rgb16()),
        DynamicImage::ImageRgba16(pixels.to_rgba16()),
    ] {
        let kind = pixels.color();
        for format in [Png, Jpeg, Webp] {
            let request = thumbnail_of(png(&pixels), 20, format);
            let response = thumbnail(request).await.unwrap();
            let described = describe(response.image).await.unwrap();
            assert_eq!(described.dominant_colours[0].rgb, 0x5a_5a_5a, "{kind:?} {format:?}");
        }
    }
}

#[tokio::test]
async fn transparency_stays_where_it_can_and_is_white_where_it_cannot() {
    let clear = png(&DynamicImage::ImageRgba8(RgbaImage::from_pixel(9, 9, Rgba([0, 0, 0, 0]))));
    for (format, expected) in [(Png, None), (Webp, None), (Jpeg, Some(0xff_ff_ff))] {
        let response = thumbnail(thumbnail_of(clear.clone(), 4, format)).await.unwrap();
        let described = describe(response.image).await.unwrap();
        let colour = described.dominant_colours.first().map(|colour| colour.rgb);
        assert_eq!(colour, expected, "{format:?}");
    }
}

#[tokio::test]
async fn pictures_are_shown_upright() {
    // Red on the left of what is stored; a quarter turn clockwise puts it on top.
    let stored = RgbImage::from_fn(64, 32, |x, _| Rgb([if x < 32 { 255 } else { 0 }, 0, 0]));
    // The Exif block of one entry: orientation (0x0112) is 6.
    let exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
    let mut encoded = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut encoded, 90);
    encoder.set_exif_metadata(exif).unwrap();
    DynamicImage::ImageRgb8(stored).write_with_encoder(encoder).unwrap();
    let encoded = Bytes::from(encoded);

    let described = describe(encoded.clone()).await.unwrap();
    assert_eq!((described.width, described.height), (32, 64));
    for max_edge in [16, 2_048] {
        let request = thumbnail_of(encoded.clone(), max_edge, Png);
        let response = thumbnail(request).await.unwrap();
        assert_eq!(response.height, response.width * 2);
        let pixels = image::load_from_memory(&response.image).unwrap().into_rgb8();
        assert!(pixels.get_pixel(1, 1).0[0] > 200, "the top is red");
        assert!(pixels.get_pixel(1, response.height - 2).0[0] < 50, "the bottom is black");
    }
}

#[tokio::test]
async fn the_hash_survives_resizing_and_tells_pictures_apart() {
    let mut hashes = Vec::new();
    for (name, _) in FIXTURES {
        let original = describe(fixture(name)).await.unwrap();
        assert_eq!((original.width, original.height), (640, 480));
        for (max_edge, format) in [(320, Png), (100, Webp), (200, Jpeg)] {
            let small = thumbnail(thumbnail_of(fixture(name), max_edge, format)).await.unwrap();
            let small = describe(small.image).await.unwrap();
            let differing = (original.perceptual_hash ^ small.perceptual_hash).count_ones();
            assert!(differing <= 6, "{name} at {max_edge} differs in {differing} bits");
        }
        hashes.push(original.perceptual_hash);
    }
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        let differing = (hashes[a] ^ hashes[b]).count_ones();
        assert!(differing >= 16, "{a} and {b} differ in {differing} bits only");
    }
}

#[tokio::test]
async fn dominant_colours_are_those_that_were_painted() {
    let described = describe(fixture("target.webp")).await.unwrap();
    let found: Vec<_> = described.dominant_colours.iter().map(|colour| colour.rgb).collect();
    assert_eq!(found, [0xbe_14_28, 0xfa_fa_fa]);
    let covered: f64 = described.dominant_colours.iter().map(|colour| colour.share).sum();
    let disc = std::f64::consts::PI * 200.0 * 200.0 / (640.0 * 480.0);
    assert!((covered - disc).abs() < 0.01, "{covered} is not {disc}");
}

#[tokio::test]
async fn what_is_no_picture_is_refused() {
    refused(Bytes::new(), "INVALID_FIELD").await;
    refused(Bytes::from_static(b"hello, world"), "NOT_AN_IMAGE").await;
    refused(Bytes::from_static(&[0; 10_000]), "NOT_AN_IMAGE").await;
    refused(Bytes::from_static(b"GIF89a\x01\0\x01\0\0\0\0;"), "UNSUPPORTED_FORMAT").await;
}

#[tokio::test]
async fn a_picture_cut_anywhere_is_truncated() {
    for (name, _) in FIXTURES {
        let whole = fixture(name);
        let last = whole.len() - 1;
        for length in [1, 5, 11, 13, 20, 30, 100, last / 4, last / 2, last] {
            refused(whole.slice(..length), "TRUNCATED_IMAGE").await;
        }
    }
}

#[tokio::test]
async fn a_damaged_picture_is_refused_or_read_but_never_more() {
    for (name, _) in FIXTURES {
        let whole = fixture(name);
        for position in (12..whole.len()).step_by(whole.len() / 60) {
            let mut damaged = whole.to_vec();
            damaged[position] ^= 0x5a;
            if let Err(status) = describe(damaged.into()).await {
                assert_eq!(status.code(), Code::InvalidArgument, "{name} at {position}");
            }
        }
    }
    let mut damaged = fixture("shapes.png").to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    refused(damaged.into(), "CORRUPT_IMAGE").await;
}

#[tokio::test]
async fn a_decompression_bomb_is_refused_unopened() {
    let mut header = b"IHDR".to_vec();
    header.extend([60_000_u32.to_be_bytes(), 60_000_u32.to_be_bytes()].concat());
    header.extend([8, 2, 0, 0, 0]);
    let mut bomb = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    bomb.extend(&header);
    bomb.extend(crc32(&header).to_be_bytes());
    refused(bomb.clone().into(), "IMAGE_TOO_LARGE").await;
    for (kind, data) in [(b"IDAT", &b"\x78\x01"[..]), (b"IEND", b"")] {
        bomb.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        let chunk = [kind, data].concat();
        bomb.extend(&chunk);
        bomb.extend(crc32(&chunk).to_be_bytes());
    }
    refused(bomb.into(), "IMAGE_TOO_LARGE").await;

    // The frame header of a real JPEG, with another size written over it.
    let mut jpeg = fixture("hills.jpg").to_vec();
    let frame = jpeg.windows(4).position(|at| at[..2] == [0xff, 0xc0] && at[2] == 0).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    refused(jpeg.into(), "IMAGE_TOO_LARGE").await;

    let webp = b"RIFF\x16\0\0\0WEBPVP8L\x05\0\0\0\x2f\xff\xff\xff\x0f\0\0\0\0\0";
    refused(Bytes::from_static(webp), "IMAGE_TOO_LARGE").await;
}

pub(super) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}

#[tokio::test]
async fn fields_have_limits() {
    let status = thumbnail(thumbnail_of(fixture("shapes.png"), 2_049, Unspecified)).await;
    assert_refused(&status.unwrap_err(), "INVALID_FIELD", "max_edge");
    let mut request = thumbnail_of(fixture("shapes.png"), 2_048, Unspecified);
    request.format = 4;
    assert_refused(&thumbnail(request).await.unwrap_err(), "INVALID_FIELD", "format");
}

#[tokio::test]
async fn a_thumbnail_that_no_answer_holds_is_refused() {
    let mut state = 1_u32;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    let pixels = RgbaImage::from_fn(2_048, 2_048, |_, _| Rgba([(); 4].map(|()| noise())));
    let mut encoded = Vec::new();
    WebPEncoder::new_lossless(&mut encoded)
        .encode(&pixels, 2_048, 2_048, image::ExtendedColorType::Rgba8)
        .unwrap();
    let request = thumbnail_of(encoded.into(), 2_048, Unspecified);
    let status = thumbnail(request).await.unwrap_err();
    assert_refused(&status, "THUMBNAIL_TOO_LARGE", "max_edge");
}

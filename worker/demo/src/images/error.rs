//! Why a picture is refused.

use crate::refusal::{self, reason};
use image::ImageError;
use image::error::UnsupportedErrorKind;
use std::fmt;
use std::io::ErrorKind;
use tonic::{Code, Status};

/// Why a picture, or a wish for one, is refused. All but [`Internal`] are the
/// caller's to mend.
///
/// [`Internal`]: PictureError::Internal
#[derive(Debug)]
pub enum PictureError {
    /// A field breaks its rule.
    Field {
        /// The name of the field.
        field: &'static str,
        /// What it should have been.
        rule: String,
    },
    /// The bytes are no picture of any known encoding.
    NotAnImage,
    /// The picture begins well and ends too early.
    Truncated,
    /// The picture breaks the rules of its encoding; the decoder says how.
    Corrupt(String),
    /// The picture has more pixels, or takes more memory, than is allowed.
    TooLarge(String),
    /// An encoding, or a variant of one, that is not handled here.
    Unsupported(String),
    /// The encoded thumbnail has this many bytes and does not fit an answer.
    ThumbnailTooLarge(usize),
    /// This side is at fault.
    Internal(String),
}

impl PictureError {
    /// What a decoder's complaint means for the one who sent the picture.
    pub(crate) fn from_decoder(error: ImageError) -> Self {
        match error {
            ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Self::Truncated
            }
            ImageError::Limits(error) => Self::TooLarge(error.to_string()),
            ImageError::Unsupported(error) => Self::Unsupported(match error.kind() {
                UnsupportedErrorKind::Color(colour) => format!("pixels of the kind {colour:?}"),
                _ => error.to_string(),
            }),
            error => Self::Corrupt(error.to_string()),
        }
    }
}

impl fmt::Display for PictureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field { field, rule } => write!(f, "{field}: {rule}"),
            Self::NotAnImage => f.write_str("expected a PNG, JPEG or WebP picture"),
            Self::Truncated => f.write_str("the picture ends too early"),
            Self::Corrupt(detail) => write!(f, "the picture is damaged: {detail}"),
            Self::TooLarge(detail) => write!(f, "the picture is too large: {detail}"),
            Self::Unsupported(what) => write!(f, "expected PNG, JPEG or WebP, found {what}"),
            Self::ThumbnailTooLarge(bytes) => write!(
                f,
                "the thumbnail has {bytes} bytes and does not fit an answer; \
                 ask for a smaller one or for JPEG"
            ),
            Self::Internal(detail) => write!(f, "internal error: {detail}"),
        }
    }
}

impl std::error::Error for PictureError {}

impl From<PictureError> for Status {
    fn from(error: PictureError) -> Self {
        let (reason, field) = match &error {
            PictureError::Field { field, rule } => {
                return refusal::invalid_field(field, rule.as_str());
            }
            PictureError::Internal(detail) => {
                tracing::error!(%detail, "a picture could not be processed");
                return Self::new(Code::Internal, "the picture could not be processed");
            }
            PictureError::NotAnImage => (reason::NOT_AN_IMAGE, "image"),
            PictureError::Truncated => (reason::TRUNCATED_IMAGE, "image"),
            PictureError::Corrupt(_) => (reason::CORRUPT_IMAGE, "image"),
            PictureError::TooLarge(_) => (reason::IMAGE_TOO_LARGE, "image"),
            PictureError::Unsupported(_) => (reason::UNSUPPORTED_FORMAT, "image"),
            PictureError::ThumbnailTooLarge(_) => (reason::THUMBNAIL_TOO_LARGE, "max_edge"),
        };
        refusal::refused_field(reason, field, error.to_string())
    }
}

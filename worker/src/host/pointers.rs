//! Messages whose body lies in S3, as the Extended Client Libraries of AWS send them:
//! the text of the message is a pointer, and the text of the object is the body.
//!
//! A pointer is not authenticated, so that only buckets that the deployment names are
//! read; what is found there is opened like any other body. Objects are never deleted:
//! another copy of the message may need them.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::DisplayErrorContext;
use serde::Deserialize;
use std::sync::Arc;

/// The class that the library writes before a pointer, and that of its first versions.
const CLASSES: [&str; 2] = [
    "software.amazon.payloadoffloading.PayloadS3Pointer",
    "com.amazon.sqs.javamessaging.MessageS3Pointer",
];
/// The largest body: more than any envelope of a gateway has.
const LARGEST: i64 = 96 * 1024 * 1024;

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pointer {
    s3_bucket_name: String,
    s3_key: String,
}

/// Why a pointer does not lead to a body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PointerError {
    #[error("the bucket {0} is not among those that may be read")]
    Refused(String),
    #[error("the object {0} does not exist, or is no text that could be a body")]
    Lost(String),
    #[error("S3 could not be reached: {0}")]
    Unavailable(String),
}

/// The pointer that a text is, if it is one.
pub(crate) fn parse(body: &str) -> Option<Pointer> {
    // An envelope is Base64, which never begins like this.
    if !body.starts_with('[') {
        return None;
    }
    let (class, pointer): (String, Pointer) = serde_json::from_str(body).ok()?;
    CLASSES.contains(&class.as_str()).then_some(pointer)
}

/// Reads what pointers point to.
#[derive(Clone, Debug)]
pub struct Pointers {
    s3: Client,
    buckets: Vec<String>,
}

impl Pointers {
    /// Pointers into these buckets.
    #[must_use]
    pub fn new(s3: Client, buckets: Vec<String>) -> Self {
        Self { s3, buckets }
    }

    pub(crate) async fn body(&self, pointer: &Pointer) -> Result<Arc<str>, PointerError> {
        let Pointer { s3_bucket_name: bucket, s3_key: key } = pointer;
        if !self.buckets.contains(bucket) {
            return Err(PointerError::Refused(bucket.clone()));
        }
        let lost = || PointerError::Lost(format!("{bucket}/{key}"));
        let unavailable = |text: String| PointerError::Unavailable(text);
        let object = self.s3.get_object().bucket(bucket).key(key).send().await;
        let object = object.map_err(|error| match error.as_service_error() {
            Some(e) if e.is_no_such_key() => lost(),
            _ => unavailable(DisplayErrorContext(error).to_string()),
        })?;
        if object.content_length().is_none_or(|length| length > LARGEST) {
            return Err(lost());
        }
        let bytes = object.body.collect().await;
        let bytes = bytes.map_err(|error| unavailable(error.to_string()))?.into_bytes();
        std::str::from_utf8(&bytes).map(Arc::from).map_err(|_| lost())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_generations_of_the_library_are_understood() {
        for class in CLASSES {
            let body = format!(r#"["{class}",{{"s3BucketName":"b","s3Key":"k/1"}}]"#);
            let pointer = parse(&body).unwrap();
            assert_eq!((pointer.s3_bucket_name.as_str(), pointer.s3_key.as_str()), ("b", "k/1"));
        }
        for other in [
            "",
            "CgE=",
            "[",
            "[]",
            r#"["java.lang.Runtime",{"s3BucketName":"b","s3Key":"k"}]"#,
            r#"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b"}]"#,
            r#"["software.amazon.payloadoffloading.PayloadS3Pointer"]"#,
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}

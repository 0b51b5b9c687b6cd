//! The payload store on S3.

use crate::payload::{PayloadError, PayloadStore};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use queuebridge_proto::v1::PayloadRef;
use sha2::{Digest, Sha256};

/// Keeps payloads in an S3 bucket. How long is a matter of the bucket's
/// lifecycle rules: longer than anything that points to an object can live.
///
/// Besides reading and writing objects it needs the permission to list the
/// bucket: without it S3 does not tell a missing object from a forbidden one.
#[derive(Clone, Debug)]
pub struct S3PayloadStore {
    client: Client,
    bucket: String,
    prefix: String,
}

impl S3PayloadStore {
    /// A store in `bucket`; the name of an object is `prefix` followed by its
    /// key, with nothing in between.
    #[must_use]
    pub fn new(client: Client, bucket: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self { client, bucket: bucket.into(), prefix: prefix.into() }
    }

    fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

#[async_trait]
impl PayloadStore for S3PayloadStore {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<PayloadRef, PayloadError> {
        let sha256 = digest(&bytes);
        let size = bytes.len() as u64;
        let call = self.client.put_object().bucket(&self.bucket).key(self.name(key));
        call.body(ByteStream::from(bytes)).send().await.map_err(unavailable)?;
        Ok(PayloadRef { key: key.to_owned(), size, sha256 })
    }

    async fn get(&self, payload: &PayloadRef) -> Result<Bytes, PayloadError> {
        let altered = || PayloadError::Altered(payload.key.clone());
        let call = self.client.get_object().bucket(&self.bucket).key(self.name(&payload.key));
        let object = call.send().await.map_err(|error| {
            if error.as_service_error().is_some_and(|e| e.is_no_such_key()) {
                return PayloadError::Missing(payload.key.clone());
            }
            unavailable(error)
        })?;
        // Before the body: an object of another length is not worth its transfer.
        let size = object.content_length().and_then(|size| u64::try_from(size).ok());
        if size.is_some_and(|size| size != payload.size) {
            return Err(altered());
        }
        let bytes = object.body.collect().await.map_err(unavailable)?.into_bytes();
        if bytes.len() as u64 != payload.size || digest(&bytes) != payload.sha256 {
            return Err(altered());
        }
        Ok(bytes)
    }
}

fn digest(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(&Sha256::digest(bytes))
}

fn unavailable<E: std::error::Error>(error: E) -> PayloadError {
    PayloadError::Unavailable(DisplayErrorContext(error).to_string())
}

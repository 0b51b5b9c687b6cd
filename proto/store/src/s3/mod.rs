//! The payload store on S3.

mod read;
mod write;

use crate::payload::{PayloadError, PayloadStore, PayloadStream};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::DisplayErrorContext;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use queuebridge_proto::v1::PayloadRef;

/// Keeps payloads in an S3 bucket. How long is a matter of the bucket's
/// lifecycle rules: longer than anything that points to an object can live. A
/// rule should also abort multipart uploads that a dead process has left.
///
/// Besides reading, writing and deleting objects it needs the permissions to
/// abort multipart uploads and to list the bucket: without that S3 does not tell
/// a missing object from a forbidden one.
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
        write::put(self, key, bytes).await
    }

    async fn get(&self, payload: &PayloadRef) -> Result<Bytes, PayloadError> {
        let mut chunks = read::open(self, payload, 0).await?;
        // The object has this length, or it would not have been opened.
        let mut bytes = BytesMut::with_capacity(usize::try_from(payload.size).unwrap_or(0));
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(bytes.freeze())
    }

    async fn open(&self, payload: &PayloadRef, offset: u64) -> Result<PayloadStream, PayloadError> {
        read::open(self, payload, offset).await
    }

    async fn delete(&self, key: &str) -> Result<(), PayloadError> {
        let call = self.client.delete_object().bucket(&self.bucket).key(self.name(key));
        call.send().await.map(|_| ()).map_err(unavailable)
    }
}

fn unavailable<E: std::error::Error>(error: E) -> PayloadError {
    PayloadError::Unavailable(DisplayErrorContext(error).to_string())
}

//! The payload store on S3.

mod write;

use crate::payload::{Chunks, PayloadError, PayloadStore, checked};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::StalledStreamProtectionConfig;
use aws_sdk_s3::error::DisplayErrorContext;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt};
use queuebridge_proto::v1::PayloadRef;
use std::time::Duration;
use tokio::time::timeout;

/// How long S3 may send nothing while somebody wants to read.
const STALLED: Duration = Duration::from_secs(30);

/// Keeps payloads in an S3 bucket. How long is a matter of the bucket's
/// lifecycle rules: longer than anything that points to an object can live. A rule
/// should also end multipart uploads that a dead process has left.
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
        write::put(self, key, bytes).await
    }

    async fn get(&self, payload: &PayloadRef) -> Result<Bytes, PayloadError> {
        let mut chunks = self.open(payload, 0).await?;
        let size = usize::try_from(payload.size).unwrap_or_default();
        let mut bytes = BytesMut::with_capacity(size);
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(bytes.freeze())
    }

    async fn open(&self, payload: &PayloadRef, offset: u64) -> Result<Chunks, PayloadError> {
        let altered = || PayloadError::Altered(payload.key.clone());
        // S3 has no empty range.
        if offset > 0 && offset >= payload.size {
            return Ok(stream::empty().boxed());
        }
        let range = (offset > 0).then(|| format!("bytes={offset}-"));
        let call = self.client.get_object().bucket(&self.bucket).key(self.name(&payload.key));
        // A slow reader is no stalled stream; see below for those.
        let patient = StalledStreamProtectionConfig::disabled();
        let patient = aws_sdk_s3::config::Builder::new().stalled_stream_protection(patient);
        let call = call.set_range(range).customize().config_override(patient);
        let object = call.send().await.map_err(|error| match error.as_service_error() {
            Some(e) if e.is_no_such_key() => PayloadError::Missing(payload.key.clone()),
            // It has become shorter than the offset.
            Some(e) if e.meta().code() == Some("InvalidRange") => altered(),
            _ => unavailable(error),
        })?;
        // Before the body: an object of another length is not worth its transfer.
        let size = object.content_length().and_then(|size| u64::try_from(size).ok());
        if size.is_some_and(|size| size != payload.size.saturating_sub(offset)) {
            return Err(altered());
        }
        let chunks = stream::unfold(object.body, |mut body| async move {
            let next = timeout(STALLED, body.next()).await;
            let chunk = match next {
                Ok(chunk) => chunk?.map_err(unavailable),
                Err(_) => Err(PayloadError::Unavailable("the transfer has stalled".to_owned())),
            };
            Some((chunk, body))
        });
        Ok(checked(chunks.boxed(), payload, offset))
    }

    async fn delete(&self, key: &str) -> Result<(), PayloadError> {
        let call = self.client.delete_object().bucket(&self.bucket).key(self.name(key));
        call.send().await.map_err(unavailable)?;
        Ok(())
    }
}

fn unavailable<E: std::error::Error>(error: E) -> PayloadError {
    PayloadError::Unavailable(DisplayErrorContext(error).to_string())
}

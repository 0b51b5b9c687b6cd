//! Writing an object to S3, in parts if it is large.
//!
//! One request for all would have to be over within the time of one attempt, and
//! would begin again from its first byte when it breaks. A part is small enough
//! for both, and shares the memory of the whole.

use super::{S3PayloadStore, unavailable};
use crate::payload::{PayloadError, digest};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use queuebridge_proto::v1::PayloadRef;

/// Up to this size one request is the quicker and cheaper way.
const SINGLE: usize = 16 << 20;
/// S3 takes parts from 5 MiB on and 10,000 of them.
const PART: usize = 8 << 20;
/// Said for the upload and for each part: S3 does not infer it from the parts.
const CHECKSUM: ChecksumAlgorithm = ChecksumAlgorithm::Crc32;
/// Enough to keep a connection's round trips from showing.
const PARTS_AT_ONCE: usize = 4;

pub(super) async fn put(
    store: &S3PayloadStore,
    key: &str,
    bytes: Bytes,
) -> Result<PayloadRef, PayloadError> {
    let sha256 = digest(&bytes).await;
    let size = bytes.len() as u64;
    if bytes.len() <= SINGLE {
        let call = store.client.put_object().bucket(&store.bucket).key(store.name(key));
        call.body(ByteStream::from(bytes)).send().await.map_err(unavailable)?;
    } else {
        put_in_parts(store, &store.name(key), bytes).await?;
    }
    Ok(PayloadRef { key: key.to_owned(), size, sha256, encrypted: false })
}

async fn put_in_parts(
    store: &S3PayloadStore,
    name: &str,
    bytes: Bytes,
) -> Result<(), PayloadError> {
    let S3PayloadStore { client, bucket, .. } = store;
    let call = client.create_multipart_upload().bucket(bucket).key(name);
    let call = call.checksum_algorithm(CHECKSUM);
    let upload = call.send().await.map_err(unavailable)?.upload_id.unwrap_or_default();
    let written = write_parts(store, name, &upload, bytes).await;
    if written.is_err() {
        // Its parts would be paid for until the bucket's lifecycle ends them.
        let call = client.abort_multipart_upload().bucket(bucket).key(name).upload_id(upload);
        let _ = call.send().await;
    }
    written
}

async fn write_parts(
    store: &S3PayloadStore,
    name: &str,
    upload: &str,
    bytes: Bytes,
) -> Result<(), PayloadError> {
    let S3PayloadStore { client, bucket, .. } = store;
    let count = bytes.len().div_ceil(PART);
    let parts = (0..count).zip(1..).map(|(index, number)| {
        let end = bytes.len().min((index + 1) * PART);
        let body = ByteStream::from(bytes.slice(index * PART..end));
        let call = client.upload_part().bucket(bucket).key(name).upload_id(upload);
        async move {
            let call = call.part_number(number).checksum_algorithm(CHECKSUM).body(body);
            let done = call.send().await.map_err(unavailable)?;
            let part = CompletedPart::builder().part_number(number).set_e_tag(done.e_tag);
            Ok(part.set_checksum_crc32(done.checksum_crc32).build())
        }
    });
    let parts = stream::iter(parts).buffered(PARTS_AT_ONCE).try_collect().await?;
    let list = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let call = client.complete_multipart_upload().bucket(bucket).key(name).upload_id(upload);
    call.multipart_upload(list).send().await.map(|_| ()).map_err(unavailable)
}

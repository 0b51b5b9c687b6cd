//! Reading an object from S3, piece by piece.
//!
//! Time-outs of the SDK end when the body begins, so a large object may take as
//! long as its reader does. S3 closes connections on which nobody reads: what
//! broke is taken up where it ended, and only if the object is still the same.

use super::{S3PayloadStore, unavailable};
use crate::payload::{PayloadError, PayloadStream, checked};
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_util::stream;
use queuebridge_proto::v1::PayloadRef;

/// How often in a row a body may break without a single byte.
const MAX_BREAKS: u32 = 3;

pub(super) async fn open(
    store: &S3PayloadStore,
    payload: &PayloadRef,
    offset: u64,
) -> Result<PayloadStream, PayloadError> {
    let (store, payload) = (store.clone(), payload.clone());
    let begun = request(&store, &payload, offset, None).await?;
    if offset >= payload.size {
        return Ok(checked(&payload, offset, stream::empty()));
    }
    let (etag, body) = (begun.e_tag, begun.body);
    let reading = Reading { store, payload: payload.clone(), at: offset, etag, body, breaks: 0 };
    let chunks = stream::try_unfold(reading, |mut reading| async move {
        Ok(reading.next().await?.map(|chunk| (chunk, reading)))
    });
    Ok(checked(&payload, offset, chunks))
}

struct Reading {
    store: S3PayloadStore,
    payload: PayloadRef,
    at: u64,
    etag: Option<String>,
    body: ByteStream,
    breaks: u32,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, PayloadError> {
        loop {
            match self.body.try_next().await {
                Ok(Some(chunk)) => {
                    self.at += chunk.len() as u64;
                    self.breaks = 0;
                    return Ok(Some(chunk));
                }
                Ok(None) => return Ok(None),
                Err(error) if self.breaks >= MAX_BREAKS => return Err(unavailable(error)),
                // Its last byte was there, and only the connection broke after it.
                Err(_) if self.at >= self.payload.size => return Ok(None),
                Err(_) => {
                    self.breaks += 1;
                    let etag = self.etag.clone();
                    self.body = request(&self.store, &self.payload, self.at, etag).await?.body;
                }
            }
        }
    }
}

/// Asks for the object from `offset` on; of its end, for any byte, because a
/// range that begins there does not exist.
async fn request(
    store: &S3PayloadStore,
    payload: &PayloadRef,
    offset: u64,
    etag: Option<String>,
) -> Result<GetObjectOutput, PayloadError> {
    let range = match offset {
        0 => None,
        _ if payload.size == 0 => None,
        offset if offset >= payload.size => Some("bytes=0-0".to_owned()),
        offset => Some(format!("bytes={offset}-")),
    };
    let ranged = range.is_some();
    let call = store.client.get_object().bucket(&store.bucket).key(store.name(&payload.key));
    let object = call.set_range(range).set_if_match(etag).send().await.map_err(|error| {
        let missing = error.as_service_error().is_some_and(GetObjectError::is_no_such_key);
        match error.raw_response().map(|response| response.status().as_u16()) {
            _ if missing => PayloadError::Missing(payload.key.clone()),
            // Another object than the one that was begun, or too short for the range.
            Some(412 | 416) => PayloadError::Altered(payload.key.clone()),
            _ => unavailable(error),
        }
    })?;
    // Before the body: an object of another length is not worth its transfer.
    let size = match (ranged, object.content_range()) {
        (true, Some(range)) => range.rsplit_once('/').and_then(|(_, size)| size.parse().ok()),
        (true, None) => {
            let message = "the endpoint does not read from an offset";
            return Err(PayloadError::Unavailable(message.to_owned()));
        }
        (false, _) => object.content_length().and_then(|size| u64::try_from(size).ok()),
    };
    if size.is_some_and(|size: u64| size != payload.size) {
        return Err(PayloadError::Altered(payload.key.clone()));
    }
    Ok(object)
}

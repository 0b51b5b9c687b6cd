//! Payloads that cannot be read in the bucket.
//!
//! An object says itself under which data key it is, in a header of a fixed length: so its
//! length follows from that of the payload, and storing the same payload again, under
//! another data key, does not invalidate a reference that is on its way already. A store
//! checks the digest of what is read from its beginning, and that of a ciphertext is
//! known to nobody: so an object begins with a byte that is never read.

use super::{EncryptedStore, KeyError, MAX_WRAPPED};
use crate::payload::{self, PayloadError, PayloadStore, PayloadStream, checked};
use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{self, StreamExt};
use prost::Message;
use queuebridge_proto::encryption::{Context, DataKey, SEGMENT, Salt, Segments, TAG_LEN};
use queuebridge_proto::v1::{Encrypted, PayloadRef};

/// The first byte.
const FIRST: usize = 1;
/// The first byte and the header.
const HEADER: usize = 1024;
const _: () = assert!(MAX_WRAPPED + 64 < HEADER);
/// Past this size encryption takes long enough to hold up other tasks.
const INLINE: usize = 1 << 20;

fn unavailable(error: impl std::fmt::Display) -> PayloadError {
    PayloadError::Unavailable(error.to_string())
}

#[async_trait]
impl<S: PayloadStore + ?Sized> PayloadStore for EncryptedStore<S> {
    /// Beside `bytes` there is their ciphertext in memory, until it is stored.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<PayloadRef, PayloadError> {
        let Some(data_key) = self.encryption.current().await.map_err(unavailable)? else {
            return self.inner.put(key, bytes).await;
        };
        let sha256 = payload::digest(&bytes).await;
        let size = bytes.len() as u64;
        let salt = self.encryption.salt().map_err(unavailable)?;
        let context = of_payload(key);
        let object = if bytes.len() <= INLINE {
            object(&data_key, salt, &context, &bytes)
        } else {
            let encrypt = move || object(&data_key, salt, &context, &bytes);
            let encrypted = tokio::task::spawn_blocking(encrypt).await;
            encrypted.map_err(unavailable)?
        };
        self.inner.put(key, object).await?;
        Ok(PayloadRef { key: key.to_owned(), size, sha256, encrypted: true })
    }

    async fn get(&self, payload: &PayloadRef) -> Result<Bytes, PayloadError> {
        if !payload.encrypted {
            return self.inner.get(payload).await;
        }
        let mut chunks = self.open(payload, 0).await?;
        // The object has this length, or it would not have been opened.
        let mut bytes = BytesMut::with_capacity(usize::try_from(payload.size).unwrap_or(0));
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(bytes.freeze())
    }

    async fn open(&self, payload: &PayloadRef, offset: u64) -> Result<PayloadStream, PayloadError> {
        if !payload.encrypted {
            return self.inner.open(payload, offset).await;
        }
        let object = stored(payload)?;
        if offset > 0 && offset >= payload.size {
            // There is nothing to read, but it is to be there.
            drop(self.inner.open(&object, object.size).await?);
            return Ok(checked(payload, offset, stream::empty()));
        }
        let mut source = Source::new(self.inner.open(&object, FIRST as u64).await?, payload);
        let header = source.take(HEADER - FIRST).await?;
        let segments = self.segments(payload, &header).await?;
        let first = u32::try_from(offset / SEGMENT as u64).map_err(|_| source.altered())?;
        if first > 0 {
            let at = HEADER as u64 + u64::from(first) * (SEGMENT + TAG_LEN) as u64;
            source = Source::new(self.inner.open(&object, at).await?, payload);
        }
        let left = payload.size - u64::from(first) * SEGMENT as u64;
        // Less than a segment.
        let skip = usize::try_from(offset % SEGMENT as u64).unwrap_or(0);
        let reading = Reading { source, segments, number: first, left: Some(left), skip };
        let chunks = stream::try_unfold(reading, |mut reading| async move {
            Ok(reading.next().await?.map(|chunk| (chunk, reading)))
        });
        Ok(checked(payload, offset, chunks))
    }

    async fn delete(&self, key: &str) -> Result<(), PayloadError> {
        self.inner.delete(key).await
    }
}

impl<S: PayloadStore + ?Sized> EncryptedStore<S> {
    /// What the header of an object says about its segments.
    async fn segments(
        &self,
        payload: &PayloadRef,
        header: &[u8],
    ) -> Result<Segments, PayloadError> {
        let altered = || PayloadError::Altered(payload.key.clone());
        let (len, rest) = header.split_at(2);
        let len = usize::from(u16::from_be_bytes([len[0], len[1]]));
        let header = Encrypted::decode(rest.get(..len).ok_or_else(altered)?);
        let Ok(Encrypted { key: Some(wrapped), salt, .. }) = header else { return Err(altered()) };
        let salt: &Salt = salt[..].try_into().map_err(|_| altered())?;
        let key = match self.encryption.unwrap(&wrapped).await {
            // The header is whatever somebody has written.
            Err(KeyError::NotAuthentic(_)) => return Err(altered()),
            key => key.map_err(unavailable)?,
        };
        Ok(key.segments(salt, &of_payload(&payload.key)))
    }
}

fn of_payload(key: &str) -> Context {
    Context::new("payload", &[key.as_bytes()])
}

/// The object of a payload, as its store knows it. Its digest is not known.
fn stored(payload: &PayloadRef) -> Result<PayloadRef, PayloadError> {
    let segments = payload.size.div_ceil(SEGMENT as u64).max(1);
    let size = segments
        .checked_mul(TAG_LEN as u64)
        .and_then(|tags| tags.checked_add(payload.size)?.checked_add(HEADER as u64));
    let size = size.ok_or_else(|| PayloadError::Altered(payload.key.clone()))?;
    Ok(PayloadRef { key: payload.key.clone(), size, ..PayloadRef::default() })
}

fn object(key: &DataKey, salt: Salt, context: &Context, plain: &[u8]) -> Bytes {
    let count = plain.len().div_ceil(SEGMENT).max(1);
    let mut out = BytesMut::with_capacity(HEADER + plain.len() + count * TAG_LEN);
    let header = Encrypted {
        key: Some(key.wrapped().clone()),
        salt: Bytes::copy_from_slice(&salt),
        ..Encrypted::default()
    };
    let header = header.encode_to_vec();
    out.put_u8(1);
    // It is shorter than the rest of its place, or the key would not have been taken.
    out.put_u16(u16::try_from(header.len()).unwrap_or(u16::MAX));
    out.extend_from_slice(&header);
    out.resize(HEADER, 0);
    let segments = key.segments(&salt, context);
    let last = count - 1;
    for (number, index) in (0u32..).zip(0..count) {
        let end = plain.len().min((index + 1) * SEGMENT);
        segments.seal(number, index == last, &plain[index * SEGMENT..end], &mut out);
    }
    out.freeze()
}

/// The bytes of an object, in the pieces that are asked for.
struct Source {
    chunks: PayloadStream,
    buffer: BytesMut,
    key: String,
}

impl Source {
    fn new(chunks: PayloadStream, payload: &PayloadRef) -> Self {
        Self { chunks, buffer: BytesMut::new(), key: payload.key.clone() }
    }

    fn altered(&self) -> PayloadError {
        PayloadError::Altered(self.key.clone())
    }

    async fn take(&mut self, len: usize) -> Result<BytesMut, PayloadError> {
        while self.buffer.len() < len {
            let chunk = self.chunks.next().await.ok_or_else(|| self.altered())?;
            self.buffer.extend_from_slice(&chunk?);
        }
        Ok(self.buffer.split_to(len))
    }
}

struct Reading {
    source: Source,
    segments: Segments,
    number: u32,
    /// The plain bytes that are still to come; `None` after the last segment.
    left: Option<u64>,
    skip: usize,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, PayloadError> {
        let Some(left) = self.left else {
            // The store may still have something to say about the end.
            return match self.source.chunks.next().await {
                Some(Err(error)) => Err(error),
                Some(Ok(_)) => Err(self.source.altered()),
                None => Ok(None),
            };
        };
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(SEGMENT);
        let mut segment = self.source.take(len + TAG_LEN).await?;
        let rest = left - len as u64;
        let last = rest == 0;
        let opened = self.segments.open(self.number, last, &mut segment);
        opened.map_err(|_| self.source.altered())?;
        self.number = self.number.checked_add(1).ok_or_else(|| self.source.altered())?;
        self.left = (!last).then_some(rest);
        let mut plain = segment.freeze();
        Ok(Some(plain.split_off(std::mem::take(&mut self.skip).min(plain.len()))))
    }
}

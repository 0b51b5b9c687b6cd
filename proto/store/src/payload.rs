//! The payload store: what is too large for a message or a record.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use queuebridge_proto::JobId;
use queuebridge_proto::v1::PayloadRef;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Keeps payloads under keys that begin with the tenant. Objects are never
/// changed; they are dropped by age, later than anything that points to them,
/// or when nothing points to them any more.
#[async_trait]
pub trait PayloadStore: Send + Sync + 'static {
    /// Stores `bytes` under `key`. Storing the same key again replaces the
    /// object. The reference carries length and digest. No second copy of
    /// `bytes` is made. A failed call may be repeated and leaves nothing that can
    /// be read.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<PayloadRef, PayloadError>;

    /// Fetches what a reference points to, and checks its length and digest.
    async fn get(&self, payload: &PayloadRef) -> Result<Bytes, PayloadError>;

    /// Opens what a reference points to, from `offset` on. An object that is
    /// missing or has another length is an error at once. The chunks are as large
    /// as the store hands them out, and only read as they are taken. The last item
    /// is an error if the object was cut short or grew, and, when it was read from
    /// its beginning, if its digest is not the reference's. From the end of the
    /// object, or past it, there is nothing to read.
    async fn open(&self, payload: &PayloadRef, offset: u64) -> Result<PayloadStream, PayloadError>;

    /// Drops the object under `key`; without one nothing happens.
    async fn delete(&self, key: &str) -> Result<(), PayloadError>;
}

/// The bytes of a payload. After an error there is nothing more.
pub type PayloadStream = BoxStream<'static, Result<Bytes, PayloadError>>;

/// The key of a job's request. Its digest is part of it: another request under the same id
/// has another place, and replaces nothing that was accepted.
#[must_use]
pub fn request_key(tenant: &str, job: &JobId, sha256: &[u8; 32]) -> String {
    let mut key = earlier_request_key(tenant, job);
    key.push('/');
    for byte in sha256 {
        // Writing to a string does not fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

/// Puts a request under its key.
///
/// # Errors
/// Those of [`PayloadStore::put`].
pub async fn put_request(
    payloads: &dyn PayloadStore,
    tenant: &str,
    job: &JobId,
    request: Bytes,
) -> Result<PayloadRef, PayloadError> {
    let key = request_key(tenant, job, &Sha256::digest(&request).into());
    payloads.put(&key, request).await
}

/// The key of a request that an earlier version of the gateway has stored.
#[must_use]
pub fn earlier_request_key(tenant: &str, job: &JobId) -> String {
    format!("{tenant}/requests/{}", job.uuid())
}

/// Whether `key` is that of a request of this job, and not of another one or of its gather.
#[must_use]
pub fn is_request_of(tenant: &str, job: &JobId, key: &str) -> bool {
    let rest = key.strip_prefix(&earlier_request_key(tenant, job));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The key of what a caller has sent after its job was accepted: of one chunk.
#[must_use]
pub fn later_key(tenant: &str, job: &JobId, chunk: u32) -> String {
    format!("{}-{chunk}", earlier_request_key(tenant, job))
}

/// The key of a job's answer. `attempt` keeps the answers of two attempts apart.
#[must_use]
pub fn answer_key(tenant: &str, job: &JobId, attempt: &str) -> String {
    format!("{tenant}/answers/{}/{attempt}", job.uuid())
}

/// Why a payload cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// There is no such object (any more).
    #[error("the payload {0} does not exist")]
    Missing(String),
    /// The object is not the one that was stored.
    #[error("the payload {0} was altered")]
    Altered(String),
    /// The store could not be asked, or did not answer.
    #[error("the payload store could not be reached: {0}")]
    Unavailable(String),
}

/// Past this size a digest takes long enough to hold up other tasks.
const DIGEST_INLINE: usize = 1 << 20;

/// The SHA-256 of `bytes`.
pub(crate) async fn digest(bytes: &Bytes) -> Bytes {
    let of = |bytes: &Bytes| Bytes::copy_from_slice(&Sha256::digest(bytes));
    if bytes.len() <= DIGEST_INLINE {
        return of(bytes);
    }
    let shared = bytes.clone();
    // It cannot panic, and is not cancelled before its end.
    tokio::task::spawn_blocking(move || of(&shared)).await.unwrap_or_else(|_| of(bytes))
}

/// Passes `chunks` on, which begin at `offset`, and checks that they are what the
/// reference says.
pub(crate) fn checked(
    payload: &PayloadRef,
    offset: u64,
    chunks: impl Stream<Item = Result<Bytes, PayloadError>> + Send + 'static,
) -> PayloadStream {
    let check = Check {
        left: payload.size.saturating_sub(offset),
        digest: (offset == 0).then(Sha256::new),
        payload: payload.clone(),
    };
    stream::unfold(Some((check, chunks.boxed())), |state| async move {
        let (mut check, mut chunks) = state?;
        loop {
            let checked = match chunks.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(chunk)) => check.take(chunk),
                Some(Err(error)) => Err(error),
                None => return Some((check.end().err().map(Err)?, None)),
            };
            let rest = checked.is_ok().then_some((check, chunks));
            return Some((checked, rest));
        }
    })
    .boxed()
}

struct Check {
    payload: PayloadRef,
    left: u64,
    digest: Option<Sha256>,
}

impl Check {
    fn take(&mut self, chunk: Bytes) -> Result<Bytes, PayloadError> {
        let left = self.left.checked_sub(chunk.len() as u64);
        self.left = left.ok_or_else(|| self.altered())?;
        if let Some(digest) = &mut self.digest {
            digest.update(&chunk);
        }
        Ok(chunk)
    }

    fn end(self) -> Result<(), PayloadError> {
        let altered = self.altered();
        let right = |digest: Sha256| digest.finalize()[..] == self.payload.sha256[..];
        if self.left == 0 && self.digest.is_none_or(right) { Ok(()) } else { Err(altered) }
    }

    fn altered(&self) -> PayloadError {
        PayloadError::Altered(self.payload.key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    fn reference(bytes: &[u8]) -> PayloadRef {
        let sha256 = Bytes::copy_from_slice(&Sha256::digest(bytes));
        PayloadRef { key: "k".into(), size: bytes.len() as u64, sha256, encrypted: false }
    }

    fn read(payload: &PayloadRef, offset: u64, chunks: &[&'static [u8]]) -> (Vec<u8>, bool) {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk))).collect();
        let all = checked(payload, offset, stream::iter(chunks)).collect::<Vec<_>>();
        let Poll::Ready(all) = std::pin::pin!(all).poll(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("nothing to wait for")
        };
        let altered = all.last().is_some_and(|last| {
            last.as_ref().is_err_and(|error| *error == PayloadError::Altered("k".into()))
        });
        (all.into_iter().flatten().flatten().collect(), altered)
    }

    #[test]
    fn what_is_not_the_payload_ends_in_an_error() {
        let payload = reference(b"abcdef");
        assert_eq!(read(&payload, 0, &[b"abc", b"", b"def"]), (b"abcdef".into(), false));
        assert_eq!(read(&payload, 2, &[b"cdef"]), (b"cdef".into(), false));
        assert_eq!(read(&payload, 6, &[]), (vec![], false));
        assert_eq!(read(&payload, 0, &[b"abc"]), (b"abc".into(), true));
        assert_eq!(read(&payload, 0, &[b"abc", b"defg", b"h"]), (b"abc".into(), true));
        assert_eq!(read(&payload, 0, &[b"abc", b"xyz"]), (b"abcxyz".into(), true));
        // Its reader compares the digest of the whole.
        assert_eq!(read(&payload, 3, &[b"xyz"]), (b"xyz".into(), false));
    }
}

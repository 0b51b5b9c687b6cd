//! The payload store: what is too large for a message or a record.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use queuebridge_proto::JobId;
use queuebridge_proto::v1::PayloadRef;
use sha2::{Digest, Sha256};

/// Keeps payloads under keys that begin with the tenant. Objects are never
/// changed; they are dropped by age, later than anything that points to them.
#[async_trait]
pub trait PayloadStore: Send + Sync + 'static {
    /// Stores `bytes` under `key`. Storing the same key again replaces the
    /// object. The reference carries length and digest.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<PayloadRef, PayloadError>;

    /// Fetches what a reference points to, and checks its length and digest.
    async fn get(&self, payload: &PayloadRef) -> Result<Bytes, PayloadError>;

    /// The same in pieces, from `offset` on, which must not lie beyond the end. The
    /// length is checked at once, the digest at the end of a read from 0.
    async fn open(&self, payload: &PayloadRef, offset: u64) -> Result<Chunks, PayloadError>;

    /// Removes the object under `key`, if there is one.
    async fn delete(&self, key: &str) -> Result<(), PayloadError>;
}

/// The bytes of a payload, piece by piece. It ends after the first error.
pub type Chunks = BoxStream<'static, Result<Bytes, PayloadError>>;

/// Passes `chunks` on and checks, when they are read from the beginning, that
/// together they have the length and the digest of `payload`.
pub(crate) fn checked(chunks: Chunks, payload: &PayloadRef, offset: u64) -> Chunks {
    let altered = PayloadError::Altered(payload.key.clone());
    let left = payload.size.saturating_sub(offset);
    let sha256 = (offset == 0).then(|| (Sha256::new(), payload.sha256.clone()));
    let state = Some((chunks, left, sha256, altered));
    stream::unfold(state, |state| async move {
        let (mut chunks, mut left, mut sha256, altered) = state?;
        match chunks.next().await {
            Some(Ok(bytes)) => match left.checked_sub(bytes.len() as u64) {
                Some(rest) => {
                    left = rest;
                    if let Some((digest, _)) = &mut sha256 {
                        digest.update(&bytes);
                    }
                    Some((Ok(bytes), Some((chunks, left, sha256, altered))))
                }
                None => Some((Err(altered), None)),
            },
            Some(Err(error)) => Some((Err(error), None)),
            None => {
                let other =
                    sha256.is_some_and(|(digest, known)| digest.finalize()[..] != known[..]);
                (other || left > 0).then_some((Err(altered), None))
            }
        }
    })
    .boxed()
}

/// The key of a job's request.
#[must_use]
pub fn request_key(tenant: &str, job: &JobId) -> String {
    format!("{tenant}/requests/{}", job.uuid())
}

/// The key of a job's answer. `attempt` keeps the answers of two attempts apart.
#[must_use]
pub fn answer_key(tenant: &str, job: &JobId, attempt: &str) -> String {
    format!("{tenant}/answers/{}/{attempt}", job.uuid())
}

/// Why a payload cannot be had.
#[derive(Debug, thiserror::Error)]
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

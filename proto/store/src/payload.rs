//! The payload store: what is too large for a message or a record.

use async_trait::async_trait;
use bytes::Bytes;
use queuebridge_proto::v1::PayloadRef;

/// Keeps payloads under keys that begin with the tenant. Objects are never
/// changed; they are dropped by age, later than anything that points to them.
#[async_trait]
pub trait PayloadStore: Send + Sync + 'static {
    /// Stores `bytes` under `key`. Storing the same key again replaces the
    /// object. The reference carries length and digest.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<PayloadRef, PayloadError>;

    /// Fetches what a reference points to, and checks its length and digest.
    async fn get(&self, payload: &PayloadRef) -> Result<Bytes, PayloadError>;
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

//! The submission store: which job an idempotent submission has started.

use crate::result::StoreError;
use async_trait::async_trait;
use queuebridge_proto::{JobId, UnixMillis};

/// The key of an idempotent submission: SHA-256 over tenant, method and
/// `request_id`.
pub type RequestKey = [u8; 32];

/// What is stored of who has submitted something: enough to know the same subject again,
/// and not its name.
pub type Owner = [u8; 16];

/// An idempotent submission that is to be recorded.
#[derive(Clone, Copy, Debug)]
pub struct NewSubmission<'a> {
    /// Its job, unless an earlier submission owns the key.
    pub job: &'a JobId,
    /// What makes it the same as another one.
    pub digest: &'a [u8; 32],
    /// Who submits it.
    pub owner: &'a Owner,
    /// The gateway's MAC over all of it, which the store only keeps.
    pub mac: &'a [u8],
}

/// Remembers idempotent submissions. All methods are safe to repeat.
#[async_trait]
pub trait SubmissionStore: Send + Sync + 'static {
    /// Records an idempotent submission before it is published. The first one
    /// under `key` wins and every later one learns of it, until the tombstone of
    /// the winner's job ends.
    async fn accept(
        &self,
        key: &RequestKey,
        submission: NewSubmission<'_>,
        now: UnixMillis,
    ) -> Result<Accepted, StoreError>;

    /// What `accept` would find under `key`; nothing is recorded.
    async fn find(&self, key: &RequestKey, now: UnixMillis)
    -> Result<Option<Accepted>, StoreError>;

    /// Notes that the job accepted under `key` is in its queue, so that repeats
    /// need not publish it again. Losing this call costs a duplicate message,
    /// which the claim absorbs.
    async fn mark_published(&self, key: &RequestKey, now: UnixMillis) -> Result<(), StoreError>;
}

/// The answer of [`SubmissionStore::accept`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// This submission is the first: publish it, then mark it published.
    New,
    /// An earlier submission owns the key.
    Existing {
        /// The uuid, and with it the canonical id, of the earlier job.
        job: JobId,
        /// The digest of the earlier submission.
        digest: [u8; 32],
        /// Who has submitted it; `None` where an earlier version of the gateway has
        /// recorded it, which did not say.
        owner: Option<Owner>,
        /// Whether it is known to be in its queue.
        published: bool,
        /// The MAC that was recorded; empty where an earlier version has recorded it.
        mac: Vec<u8>,
    },
}

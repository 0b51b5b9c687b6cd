//! Finished jobs are announced to those who wait, within this process.

use async_trait::async_trait;
use queuebridge_gateway::waiter::Waiter;
use queuebridge_proto::v1::{Outcome, Progress, State};
use queuebridge_proto::{JobId, UnixMillis};
use queuebridge_store::{
    Accepted, Author, Cancelled, Claim, Completed, Lapsed, Lease, Record, Renewed, RequestKey,
    ResultStore, StoreError, Token,
};
use std::sync::Arc;

/// The result store as the worker of this process sees it: what it finishes is
/// announced to the gateway of this process.
pub(crate) struct Announcing {
    pub(crate) store: Arc<dyn ResultStore>,
    pub(crate) waiter: Waiter,
}

#[async_trait]
impl ResultStore for Announcing {
    async fn complete(
        &self,
        job: &JobId,
        method: &str,
        author: Author,
        state: State,
        outcome: Outcome,
        now: UnixMillis,
    ) -> Result<Completed, StoreError> {
        let completed = self.store.complete(job, method, author, state, outcome, now).await?;
        self.waiter.announce(job.uuid());
        Ok(completed)
    }

    async fn accept(
        &self,
        key: &RequestKey,
        job: &JobId,
        digest: &[u8; 32],
        now: UnixMillis,
    ) -> Result<Accepted, StoreError> {
        self.store.accept(key, job, digest, now).await
    }

    async fn mark_published(&self, key: &RequestKey, now: UnixMillis) -> Result<(), StoreError> {
        self.store.mark_published(key, now).await
    }

    async fn claim(
        &self,
        job: &JobId,
        method: &str,
        token: Token,
        lease_until: UnixMillis,
        lapsed: Lapsed,
        now: UnixMillis,
    ) -> Result<Claim, StoreError> {
        self.store.claim(job, method, token, lease_until, lapsed, now).await
    }

    async fn renew(
        &self,
        job: &JobId,
        token: Token,
        lease: Lease,
        progress: Option<Progress>,
        now: UnixMillis,
    ) -> Result<Renewed, StoreError> {
        self.store.renew(job, token, lease, progress, now).await
    }

    async fn get(&self, job: &JobId, now: UnixMillis) -> Result<Option<Record>, StoreError> {
        self.store.get(job, now).await
    }

    async fn cancel(&self, job: &JobId, now: UnixMillis) -> Result<Cancelled, StoreError> {
        self.store.cancel(job, now).await
    }
}

//! Records whose outcomes and progress cannot be read in the table.

use super::{EncryptedStore, KeyError};
use crate::record::{Record, Token};
use crate::result::{
    Author, Cancelled, Claim, Completed, Deleted, Lapsed, Lease, Renewed, ResultStore, StoreError,
};
use async_trait::async_trait;
use queuebridge_proto::encryption::Context;
use queuebridge_proto::v1::{Outcome, Progress, State, outcome};
use queuebridge_proto::{JobId, UnixMillis};

/// Without its key a record is as good as in a store that cannot be reached.
pub(super) fn unreadable(error: KeyError) -> StoreError {
    StoreError(error.to_string())
}

fn of_job(purpose: &str, job: &JobId) -> Context {
    Context::new(purpose, &[job.uuid().as_bytes()])
}

/// Whether an outcome that is not encrypted itself leads to something that is. We write
/// both encrypted, or neither: whoever has written this one wants to be shown what may be
/// another job's.
fn leads_to_encrypted(outcome: &Outcome) -> bool {
    let own = matches!(&outcome.result, Some(outcome::Result::ResponseRef(at)) if at.encrypted);
    let branches = outcome.gather.iter().flat_map(|report| &report.branches);
    own || branches.filter_map(|branch| branch.outcome.as_ref()).any(leads_to_encrypted)
}

pub(super) fn forged() -> StoreError {
    StoreError("what is not encrypted leads to something that is".to_owned())
}

#[async_trait]
impl<S: ResultStore + ?Sized> ResultStore for EncryptedStore<S> {
    async fn claim(
        &self,
        job: &JobId,
        method: &str,
        token: Token,
        lease_until: UnixMillis,
        lapsed: Lapsed,
        now: UnixMillis,
    ) -> Result<Claim, StoreError> {
        self.inner.claim(job, method, token, lease_until, lapsed, now).await
    }

    async fn renew(
        &self,
        job: &JobId,
        token: Token,
        lease: Lease,
        progress: Option<Progress>,
        now: UnixMillis,
    ) -> Result<Renewed, StoreError> {
        let progress = match progress {
            None => None,
            Some(plain) => {
                let encrypted = self
                    .encryption
                    .encrypt(&of_job("progress", job), &plain)
                    .await
                    .map_err(unreadable)?;
                Some(match encrypted {
                    Some(sealed) => Progress { encrypted: Some(sealed), ..Progress::default() },
                    None => plain,
                })
            }
        };
        self.inner.renew(job, token, lease, progress, now).await
    }

    async fn complete(
        &self,
        job: &JobId,
        method: &str,
        author: Author,
        state: State,
        outcome: Outcome,
        now: UnixMillis,
    ) -> Result<Completed, StoreError> {
        let encrypted =
            self.encryption.encrypt(&of_job("outcome", job), &outcome).await.map_err(unreadable)?;
        let outcome = match encrypted {
            Some(sealed) => Outcome { encrypted: Some(sealed), ..Outcome::default() },
            None => outcome,
        };
        self.inner.complete(job, method, author, state, outcome, now).await
    }

    async fn get(&self, job: &JobId, now: UnixMillis) -> Result<Option<Record>, StoreError> {
        let Some(mut record) = self.inner.get(job, now).await? else { return Ok(None) };
        if let Some(sealed) = record.outcome.as_ref().and_then(|plain| plain.encrypted.as_ref()) {
            let outcome = self
                .encryption
                .decrypt(&of_job("outcome", job), sealed)
                .await
                .map_err(unreadable)?;
            record.outcome = Some(outcome);
        } else if record.outcome.as_ref().is_some_and(leads_to_encrypted) {
            return Err(forged());
        }
        if let Some(sealed) = record.progress.as_ref().and_then(|plain| plain.encrypted.as_ref()) {
            let progress = self
                .encryption
                .decrypt(&of_job("progress", job), sealed)
                .await
                .map_err(unreadable)?;
            record.progress = Some(progress);
        }
        Ok(Some(record))
    }

    async fn cancel(&self, job: &JobId, now: UnixMillis) -> Result<Cancelled, StoreError> {
        self.inner.cancel(job, now).await
    }

    async fn delete(&self, job: &JobId, now: UnixMillis) -> Result<Deleted, StoreError> {
        self.inner.delete(job, now).await
    }
}

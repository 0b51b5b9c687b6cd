//! Records whose outcomes, progress and callbacks cannot be read in the table.

use super::{EncryptedStore, KeyError};
use crate::record::{Record, Token};
use crate::result::{
    Author, Cancelled, ClaimRequest, Claimed, Completed, Deleted, End, Lease, Renewed, ResultStore,
    StoreError,
};
use async_trait::async_trait;
use queuebridge_proto::encryption::Context;
use queuebridge_proto::v1::{Origin, Outcome, Progress, outcome};
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

impl<S: ?Sized> EncryptedStore<S> {
    /// An origin as it rests. Only the callback is worth hiding: its URL may hold a secret.
    async fn sealed(&self, job: &JobId, origin: Origin) -> Result<Origin, StoreError> {
        if origin.callback.is_none() {
            return Ok(origin);
        }
        let sealed = self.encryption.encrypt(&of_job("origin", job), &origin).await;
        Ok(match sealed.map_err(unreadable)? {
            Some(sealed) => Origin { encrypted: Some(sealed), ..Origin::default() },
            None => origin,
        })
    }

    /// An origin as it was sealed. One that names a callback in the clear, where we would
    /// have encrypted it, may be of somebody who wants to be told what they cannot read: it
    /// is none, and the message itself counts, which is authentic.
    async fn opened(
        &self,
        job: &JobId,
        origin: Option<Origin>,
    ) -> Result<Option<Origin>, StoreError> {
        let Some(origin) = origin else { return Ok(None) };
        if let Some(sealed) = &origin.encrypted {
            let opened = self.encryption.decrypt(&of_job("origin", job), sealed).await;
            return opened.map(Some).map_err(unreadable);
        }
        let hides = self.encryption.current().await.map_err(unreadable)?.is_some();
        Ok(Some(origin).filter(|origin| origin.callback.is_none() || !hides))
    }
}

#[async_trait]
impl<S: ResultStore + ?Sized> ResultStore for EncryptedStore<S> {
    async fn claim(
        &self,
        job: &JobId,
        request: ClaimRequest<'_>,
        now: UnixMillis,
    ) -> Result<Claimed, StoreError> {
        let origin = self.sealed(job, request.origin.clone()).await?;
        let Claimed { claim, origin, took_over } =
            self.inner.claim(job, request.with_origin(origin), now).await?;
        Ok(Claimed { claim, origin: self.opened(job, origin).await?, took_over })
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
        end: End,
        now: UnixMillis,
    ) -> Result<Completed, StoreError> {
        let End { state, outcome, origin } = end;
        let origin = match origin {
            Some(origin) => Some(self.sealed(job, origin).await?),
            None => None,
        };
        let encrypted =
            self.encryption.encrypt(&of_job("outcome", job), &outcome).await.map_err(unreadable)?;
        let outcome = match encrypted {
            Some(sealed) => Outcome { encrypted: Some(sealed), ..Outcome::default() },
            None => outcome,
        };
        self.inner.complete(job, method, author, End { state, outcome, origin }, now).await
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
        record.origin = self.opened(job, record.origin.take()).await?;
        Ok(Some(record))
    }

    async fn cancel(&self, job: &JobId, now: UnixMillis) -> Result<Cancelled, StoreError> {
        self.inner.cancel(job, now).await
    }

    async fn delete(&self, job: &JobId, now: UnixMillis) -> Result<Deleted, StoreError> {
        self.inner.delete(job, now).await
    }
}

//! Forgetting the result of a job.

use super::{Found, Lookup, not_finished, unreachable};
use queuebridge_proto::JobId;
use queuebridge_proto::v1::State;
use queuebridge_proto::v1::outcome::Result as Kind;
use queuebridge_store::{Deleted, Record, payload};
use tonic::Status;

impl Lookup {
    /// Forgets the result of a finished job.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION`/`NOT_FINISHED`, `UNAVAILABLE`.
    pub async fn delete(&self, id: &JobId, tenant: &str) -> Result<(), Status> {
        match self.find(id).await? {
            Found::Purged => Ok(()),
            Found::Pending | Found::Underway(_) | Found::Gathering(_) => Err(not_finished()),
            Found::Finished(record) => {
                // The request of a job that has failed stays: its parked message needs it.
                let spent = if id.is_gather() {
                    self.delete_branches(id, tenant, &record).await?
                } else {
                    record.state == State::Succeeded
                };
                // First the payloads: if one stays, the caller can try again.
                self.delete_payloads(id, tenant, &record, spent).await?;
                self.delete_answers(id, tenant, &record).await?;
                if spent && !id.is_gather() {
                    self.delete_requests(id, tenant).await?;
                }
                match self.store.delete(id, self.clock.now()).await.map_err(|e| unreachable(&e))? {
                    Deleted::Deleted => Ok(()),
                    Deleted::NotFinished => Err(not_finished()),
                }
            }
        }
    }

    pub(crate) async fn delete_payloads(
        &self,
        id: &JobId,
        tenant: &str,
        record: &Record,
        request_too: bool,
    ) -> Result<(), Status> {
        let answer = record.outcome.as_ref().and_then(|outcome| match &outcome.result {
            Some(Kind::ResponseRef(at)) => Some(at.key.clone()),
            _ => None,
        });
        // The plan names that of a gather. Where nothing is named there is none, or an
        // earlier version has stored it.
        let plan =
            record.outcome.as_ref().and_then(|outcome| outcome.gather.as_ref()?.plan.as_ref());
        let origin = record.origin.as_ref().map(|origin| &origin.request_key);
        let named = plan.map(|plan| &plan.request_key).or(origin);
        let named = named.filter(|key| payload::is_request_of(tenant, id, key)).cloned();
        let request =
            request_too.then(|| named.unwrap_or_else(|| payload::earlier_request_key(tenant, id)));
        for key in answer.into_iter().chain(request) {
            self.delete_payload(id, &key).await?;
        }
        Ok(())
    }
}

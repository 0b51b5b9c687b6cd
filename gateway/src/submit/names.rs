//! What jobs are known by: their signed ids, and the keys of idempotent submissions.

use super::FrontDoor;
use crate::config::Guarantee;
use crate::identity::Identity;
use crate::submission::Submission;
use queuebridge_proto::error;
use queuebridge_proto::job_id::Claims;
use queuebridge_proto::{JobId, UnixMillis};
use queuebridge_store::RequestKey;
use sha2::{Digest, Sha256};
use tonic::Status;
use uuid::{ContextV7, Timestamp, Uuid};

impl FrontDoor {
    pub(super) fn id_of(
        &self,
        caller: &Identity,
        job: &Submission,
        now: UnixMillis,
    ) -> Result<JobId, Status> {
        if job.is_again() {
            let id = JobId::verify(&job.job_id, &caller.tenant, &self.job_id_keys)
                .map_err(|error| crate::lookup::bad_id("job_id", error))?;
            if id.method_tag() != queuebridge_proto::method::tag(job.method.as_str())
                || id.is_gather() != job.fan_out.is_some()
            {
                return Err(error::invalid_field("job_id", "was given for another method"));
            }
            return Ok(id);
        }
        if let Some(selected) = &job.fan_out {
            return Ok(self.new_gather(caller, job, selected.deadline, now));
        }
        Ok(JobId::mint(&self.claims(caller, job, job.expires_at, now), &self.job_id_keys))
    }

    /// A new id for a gather that is decided by `deadline`.
    pub(crate) fn new_gather(
        &self,
        caller: &Identity,
        job: &Submission,
        deadline: UnixMillis,
        now: UnixMillis,
    ) -> JobId {
        JobId::mint_gather(&self.claims(caller, job, deadline, now), &self.job_id_keys)
    }

    fn claims<'a>(
        &self,
        caller: &'a Identity,
        job: &'a Submission,
        expires_at: UnixMillis,
        now: UnixMillis,
    ) -> Claims<'a> {
        let secs = now.0 / 1000;
        let nanos = u32::try_from(now.0 % 1000).unwrap_or(0) * 1_000_000;
        Claims {
            uuid: Uuid::new_v7(Timestamp::from_unix(ContextV7::new(), secs, nanos)),
            tenant: &caller.tenant,
            method: job.method.as_str(),
            expires_at,
            retention: job.retention,
            at_least_once: job.route.config.guarantee == Guarantee::AtLeastOnce,
            reply_shard: self.replies.held().filter(|_| job.route.config.announce),
        }
    }
}

/// SHA-256 over tenant, method and `request_id`, kept apart by NUL, which none
/// of them can contain.
pub(crate) fn request_key(tenant: &str, method: &str, request_id: &str) -> RequestKey {
    Sha256::new_with_prefix(tenant)
        .chain_update([0])
        .chain_update(method)
        .chain_update([0])
        .chain_update(request_id)
        .finalize()
        .into()
}

pub(crate) fn digest(method: &str, request: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix(method).chain_update([0]).chain_update(request).finalize().into()
}

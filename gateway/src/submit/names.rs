//! What jobs are known by: their signed ids, and the keys of idempotent submissions.

use super::{FrontDoor, digest};
use crate::audit;
use crate::config::Guarantee;
use crate::identity::Identity;
use crate::submission::Submission;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::job_id::Claims;
use queuebridge_proto::resubmit::{self, Bound};
use queuebridge_proto::{JobId, UnixMillis};
use queuebridge_store::RequestKey;
use sha2::{Digest, Sha256};
use tonic::{Code, Status};
use uuid::{ContextV7, Timestamp, Uuid};

impl FrontDoor {
    pub(super) fn id_of(
        &self,
        caller: &Identity,
        job: &Submission,
        now: UnixMillis,
    ) -> Result<JobId, Status> {
        if let Some(token) = &job.resubmit_token {
            let id = self.resubmitted(caller, job, token);
            return id.inspect_err(|status| audit::refused(caller, job.method.as_str(), status));
        }
        if let Some(selected) = &job.fan_out {
            return Ok(self.new_gather(caller, job, selected.deadline, now));
        }
        Ok(JobId::mint(&self.claims(caller, job, job.expires_at, now), &self.job_id_keys))
    }

    /// The job that the caller has a right to submit once more. Nothing is said about why a
    /// token is none.
    fn resubmitted(
        &self,
        caller: &Identity,
        job: &Submission,
        token: &str,
    ) -> Result<JobId, Status> {
        let (owner, digest) = (caller.owner(), digest(job));
        let bound = Bound { tenant: &caller.tenant, owner: &owner, digest: &digest };
        let id = resubmit::verify(token, &bound, &self.job_id_keys);
        // A route may have got branches meanwhile, or lost them.
        let id = id.filter(|id| id.is_gather() == job.fan_out.is_some());
        id.ok_or_else(|| {
            let rule = "not a token for this submission by this caller";
            let (code, reason) = (Code::InvalidArgument, reason::RESUBMIT_TOKEN_INVALID);
            error::refused_field(code, reason, "resubmit_token", rule)
        })
    }

    /// The right to submit a job once more that may not be in its queue. Jobs of groups are
    /// known by their numbers and need none; nobody can say the rest of an open request
    /// again; and the job of another subject is not the caller's to submit.
    pub(super) fn resubmit_token(
        &self,
        caller: &Identity,
        id: &JobId,
        job: &Submission,
    ) -> Option<String> {
        let of_a_group = job.member.is_some() || id.is_gather() != job.fan_out.is_some();
        if of_a_group || job.shape.open || job.foreign {
            return None;
        }
        let (owner, digest) = (caller.owner(), digest(job));
        let bound = Bound { tenant: &caller.tenant, owner: &owner, digest: &digest };
        Some(resubmit::token(id, &bound, &self.job_id_keys))
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

/// The digest of what earlier versions have compared of submissions.
pub(super) fn plain_digest(method: &str, request: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix(method).chain_update([0]).chain_update(request).finalize().into()
}

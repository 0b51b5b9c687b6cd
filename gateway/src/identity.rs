//! Who calls.

use crate::auth::{Rights, Verb};
use queuebridge_proto::JobId;
use queuebridge_store::Owner;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tonic::{Request, Status};

/// The authenticated caller.
#[derive(Clone, Debug)]
pub struct Identity {
    /// For whom the job runs; part of every key and of the job id. It follows from the
    /// caller's credentials, or is a constant of the configuration, and is never taken
    /// from the request.
    pub tenant: Arc<str>,
    /// Who it is, for the audit log: the id of an API key, the subject of a token or of
    /// a certificate.
    pub subject: Arc<str>,
    /// What only this subject is, for whom it is more than its name in logs.
    principal: Option<Arc<str>>,
    rights: Rights,
}

impl Identity {
    /// A caller with these rights.
    #[must_use]
    pub fn new(tenant: impl Into<Arc<str>>, subject: impl Into<Arc<str>>, rights: Rights) -> Self {
        Self { tenant: tenant.into(), subject: subject.into(), principal: None, rights }
    }

    /// The same caller, whose name in logs does not say all of who it is.
    #[must_use]
    pub(crate) fn known_as(self, principal: impl Into<Arc<str>>) -> Self {
        Self { principal: Some(principal.into()), ..self }
    }

    /// A caller that was not asked who it is, and may do everything with the jobs of
    /// this tenant.
    #[must_use]
    pub fn trusted(tenant: impl Into<Arc<str>>) -> Self {
        Self::new(tenant, "anonymous", Rights::all())
    }

    /// The identity that the server attached to a request.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` when there is none, which is a mistake in the server.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        request
            .extensions()
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Status::unauthenticated("the caller has no identity"))
    }

    /// The mark of this subject: the beginning of a SHA-256 over tenant and subject, kept
    /// apart by the length of the first; of a token's subject with its issuer.
    #[must_use]
    pub fn owner(&self) -> Owner {
        let digest = Sha256::new_with_prefix("queuebridge.v1.Owner")
            .chain_update((self.tenant.len() as u64).to_be_bytes())
            .chain_update(&*self.tenant)
            .chain_update(&**self.principal.as_ref().unwrap_or(&self.subject))
            .finalize();
        let mut owner = Owner::default();
        owner.copy_from_slice(&digest[..16]);
        owner
    }

    /// Whether the caller may do this with jobs of a method.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`/`NOT_GRANTED`.
    pub fn may(&self, verb: Verb, method: &str) -> Result<(), Status> {
        self.rights.check(verb, method)
    }

    /// Whether the caller may do anything with jobs of any method of a service,
    /// `package.Service`.
    #[must_use]
    pub fn reaches(&self, service: &str) -> bool {
        self.rights.reach(service)
    }

    /// Whether the caller may do this with a job of its tenant.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`/`NOT_GRANTED`.
    pub fn may_with(&self, verb: Verb, job: &JobId) -> Result<(), Status> {
        self.rights.check_job(verb, job)
    }
}

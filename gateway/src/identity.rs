//! Who calls.

use std::sync::Arc;
use tonic::{Request, Status};

/// The authenticated caller. Until authentication exists the tenant is a
/// constant of the configuration; it is never taken from request metadata.
#[derive(Clone, Debug)]
pub struct Identity {
    /// For whom the job runs; part of every key and of the job id.
    pub tenant: Arc<str>,
}

impl Identity {
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
}

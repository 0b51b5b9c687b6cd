//! Callers who are known by the certificate of their connection.

use super::refusal;
use crate::config::CallersConfig;
use crate::identity::Identity;
use http::Extensions;
use tonic::Status;

/// The caller that the certificate of a connection names.
pub(super) fn identify(
    _extensions: &Extensions,
    _config: &CallersConfig,
) -> Result<Identity, Status> {
    Err(refusal::missing())
}

//! Bodies of the size that was asked for.

use crate::testing::{Payload, PayloadType};
use tonic::Status;

/// The largest body of an answer in bytes. The published cases stay below half a
/// megabyte; without a limit one small request could fill the memory.
pub const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// # Errors
/// `INVALID_ARGUMENT` for a type that is unknown, or a size that is none.
pub(crate) fn zeros(kind: i32, size: i32) -> Result<Payload, Status> {
    if PayloadType::try_from(kind).is_err() {
        return Err(Status::invalid_argument(format!("unknown payload type {kind}")));
    }
    match usize::try_from(size) {
        Ok(size) if size <= MAX_BODY_BYTES => {
            Ok(Payload { r#type: kind, body: vec![0; size].into() })
        }
        _ => Err(Status::invalid_argument(format!(
            "expected a size from 0 to {MAX_BODY_BYTES}, found {size}"
        ))),
    }
}

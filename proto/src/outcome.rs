//! Outcomes, and the two forms of a status: tonic's and `google.rpc.Status`.

use crate::error::{self, reason};
use crate::metadata::{from_metadata_map, from_trailers};
use crate::v1::{Outcome, outcome::Result as Kind};
use bytes::Bytes;
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

/// The `google.rpc.Status` of a gRPC status. Its metadata is not part of it.
#[must_use]
pub fn to_rpc_status(status: &Status) -> tonic_types::Status {
    let details = tonic_types::Status::decode(status.details()).map(|s| s.details);
    tonic_types::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: details.unwrap_or_default(),
    }
}

/// The gRPC status of a `google.rpc.Status`, with its details as they stand.
#[must_use]
pub fn from_rpc_status(status: &tonic_types::Status) -> Status {
    let code = Code::from_i32(status.code);
    let details = if status.details.is_empty() { vec![] } else { status.encode_to_vec() };
    Status::with_details(code, status.message.clone(), details.into())
}

/// The outcome of a handler that answered OK.
#[must_use]
pub fn success(message: Bytes, initial: &MetadataMap, trailing: &MetadataMap) -> Outcome {
    Outcome {
        result: Some(Kind::Response(message)),
        initial_metadata: from_metadata_map(initial),
        trailing_metadata: from_metadata_map(trailing),
        ..Outcome::default()
    }
}

/// The outcome of a handler that answered with an error: the status and its
/// trailing metadata; `initial` is what came before it.
#[must_use]
pub fn failure(status: &Status, initial: &MetadataMap) -> Outcome {
    Outcome {
        result: Some(Kind::Error(to_rpc_status(status))),
        initial_metadata: from_metadata_map(initial),
        trailing_metadata: from_trailers(status.metadata()),
        ..Outcome::default()
    }
}

/// The outcome of a job that was not finished by its work expiry.
#[must_use]
pub fn expired() -> Outcome {
    let message = "the job was not finished by its work expiry";
    let status = error::status(Code::DeadlineExceeded, reason::JOB_EXPIRED, message);
    failure(&status, &MetadataMap::new())
}

/// The outcome of a cancelled job.
#[must_use]
pub fn cancelled() -> Outcome {
    let status = error::status(Code::Cancelled, reason::JOB_CANCELLED, "the job was cancelled");
    failure(&status, &MetadataMap::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_keeps_its_details_both_ways() {
        let status = error::invalid_field("f", "rule");
        let back = from_rpc_status(&to_rpc_status(&status));
        assert_eq!((back.code(), back.message()), (status.code(), status.message()));
        assert_eq!(back.details(), status.details());
        let plain = Status::new(Code::Aborted, "m");
        assert!(from_rpc_status(&to_rpc_status(&plain)).details().is_empty());
    }
}

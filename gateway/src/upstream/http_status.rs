//! Answers of HTTP that are none of gRPC.

use queuebridge_proto::error::{self, reason};
use tonic::{Code, Status};

/// The status for an answer that holds none, as gRPC maps it. `grpc`: whether it
/// claims to be one of gRPC.
pub(super) fn of(http_status: u16, grpc: bool) -> Status {
    let code = match http_status {
        400 | 431 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    let what = if grpc { "without a status" } else { "that is not gRPC" };
    let message =
        format!("the upstream's answer is one {what}, with the HTTP status {http_status}");
    error::status(code, reason::UPSTREAM_NOT_GRPC, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_becomes_grpc_as_the_protocol_maps_it() {
        for (http, code) in [
            (400, Code::Internal),
            (401, Code::Unauthenticated),
            (403, Code::PermissionDenied),
            (404, Code::Unimplemented),
            (429, Code::Unavailable),
            (431, Code::Internal),
            (500, Code::Unknown),
            (502, Code::Unavailable),
            (503, Code::Unavailable),
            (504, Code::Unavailable),
            (200, Code::Unknown),
        ] {
            assert_eq!(of(http, false).code(), code, "{http}");
        }
    }
}

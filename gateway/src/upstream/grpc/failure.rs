//! What became of a call when the connection, and not the server, ended it.

use h2::Reason;
use queuebridge_proto::error::{self, reason};
use std::time::Duration;
use tonic::{Code, Status};

/// A failed call, and whether the server has certainly not run it.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: Status,
    pub(super) not_run: bool,
}

impl Failure {
    /// Nothing was sent: whatever the error was, nobody has run the call.
    pub(super) fn before_sending(self) -> Self {
        Self { not_run: true, ..self }
    }
}

/// No connection could be made.
pub(super) fn unreachable(error: &std::io::Error) -> Failure {
    let message = format!("the upstream cannot be reached: {error}");
    let status = error::status(Code::Unavailable, reason::UPSTREAM_UNAVAILABLE, message);
    Failure { status, not_run: true }
}

/// There is no address to connect to.
pub(super) fn nowhere() -> Failure {
    unreachable(&std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"))
}

/// No connection is tried for a moment.
pub(super) fn paused(left: Duration) -> Failure {
    let message = "the upstream could not be reached several times in a row, and is left alone";
    let status = error::retry_after(Code::Unavailable, reason::UPSTREAM_UNAVAILABLE, message, left);
    Failure { status, not_run: true }
}

/// The connection or the stream has ended. Its codes are mapped as gRPC over
/// HTTP/2 has it.
pub(super) fn of(error: &h2::Error) -> Failure {
    // Streams that a server's GOAWAY reports as failed are those that it has not
    // looked at; REFUSED_STREAM promises the same for one stream.
    let refused = error.reason() == Some(Reason::REFUSED_STREAM);
    let not_run = error.is_remote() && (refused || error.is_go_away());
    let code = match error.reason() {
        _ if not_run => Code::Unavailable,
        None => Code::Unavailable,
        Some(_) if error.is_go_away() => Code::Unavailable,
        Some(Reason::CANCEL) => Code::Cancelled,
        Some(Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
        Some(Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
        Some(_) => Code::Internal,
    };
    let why = match not_run {
        true => format!("the upstream did not take the call: {error}"),
        false => format!("the connection to the upstream was lost: {error}"),
    };
    let status = error::status(code, reason::UPSTREAM_UNAVAILABLE, why);
    Failure { status, not_run }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::StatusExt;

    #[test]
    fn codes_of_http2_become_codes_of_grpc() {
        for (reason, code) in [
            (Reason::CANCEL, Code::Cancelled),
            (Reason::ENHANCE_YOUR_CALM, Code::ResourceExhausted),
            (Reason::INADEQUATE_SECURITY, Code::PermissionDenied),
            (Reason::PROTOCOL_ERROR, Code::Internal),
        ] {
            let failure = of(&h2::Error::from(reason));
            assert_eq!((failure.status.code(), failure.not_run), (code, false), "{reason}");
            let info = failure.status.get_error_details().error_info().cloned().unwrap();
            assert_eq!(info.reason, "UPSTREAM_UNAVAILABLE");
        }
        assert!(of(&h2::Error::from(Reason::CANCEL)).before_sending().not_run);
    }

    #[test]
    fn a_pause_says_how_long() {
        let failure = paused(Duration::from_millis(300));
        assert_eq!(failure.status.metadata().get("grpc-retry-pushback-ms").unwrap(), "300");
        assert!(failure.not_run);
    }
}

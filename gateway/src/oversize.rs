//! Messages beyond the server's limit, refused as the contract has it.
//!
//! Tonic stops reading them before any service sees them, with `OUT_OF_RANGE` and
//! no details; the gateway's own services do not answer with that code, and what others
//! say with it is theirs.

use crate::submission::too_large;
use queuebridge_proto::JobId;
use queuebridge_proto::error::{self, reason};
use tonic::{Code, Status};

/// What `Jobs.ReadStream` puts around a message of a stream: its number, its attempt, and
/// their tags.
const AROUND_A_MESSAGE: usize = 64;
/// How tonic begins what it says of a compressed message that becomes too large.
const DECOMPRESSED: &str = "Error decompressing: size limit";

/// What the status of an unreadable message becomes.
#[must_use]
pub(crate) fn of_message(status: Status) -> Status {
    if is_of_message(&status) {
        too_large("request", "the message is larger than this gateway takes")
    } else {
        status
    }
}

/// Whether a request ends because a message of it is too large.
#[must_use]
pub(crate) fn is_of_message(status: &Status) -> bool {
    // What this gateway says has details.
    status.details().is_empty()
        && match status.code() {
            Code::OutOfRange => true,
            Code::ResourceExhausted => status.message().starts_with(DECOMPRESSED),
            _ => false,
        }
}

/// Whether a message of a streamed answer is too large for callers of a gateway whose
/// messages have at most `most` bytes. What is not can also be read by `Jobs.ReadStream`.
#[must_use]
pub(crate) fn is_too_large(message: &[u8], most: usize) -> bool {
    message.len() > most.saturating_sub(AROUND_A_MESSAGE)
}

/// What is said of such a message.
#[must_use]
pub(crate) fn too_large_message(id: &JobId, size: usize) -> Status {
    let message =
        format!("a message of {size} bytes in the answer is larger than this gateway's messages");
    let facts = [("job_id", id.to_string())];
    let reason = reason::RESPONSE_TOO_LARGE;
    error::do_not_retry(error::status_with(Code::ResourceExhausted, reason, message, facts))
}

/// [`of_message`] for the response to a call with one message.
#[must_use]
pub(crate) fn of_response<B>(mut response: http::Response<B>) -> http::Response<B> {
    let headers = response.headers_mut();
    if let Some(status) = Status::from_header_map(headers)
        && is_of_message(&status)
    {
        headers.remove("grpc-message");
        let refusal = of_message(status);
        // Its text and details are valid header values, whatever they say.
        let _ = refusal.add_header(headers);
    }
    response
}

/// What is said of an answer that is larger than a message of ours may be.
pub(crate) fn too_large_answer(id: &JobId, size: u64) -> Status {
    let message = format!("the answer of {size} bytes is larger than this gateway's messages");
    let facts = [("job_id", id.to_string())];
    let reason = reason::RESPONSE_TOO_LARGE;
    error::do_not_retry(error::status_with(Code::ResourceExhausted, reason, message, facts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::StatusExt;

    #[test]
    fn a_message_beyond_the_limit_is_refused_for_good() {
        let response: http::Response<()> = Status::out_of_range("too long").into_http();
        let response = of_response(response);
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted);
        let info = status.get_error_details().error_info().cloned().unwrap();
        assert_eq!(info.reason, reason::PAYLOAD_TOO_LARGE);
        assert_eq!(response.headers()["grpc-retry-pushback-ms"], "-1");
        assert_eq!(response.headers().get_all("grpc-status").iter().count(), 1);
    }

    #[test]
    fn every_other_response_stays_as_it_is() {
        let before: http::Response<()> = Status::not_found("no such job").into_http();
        let headers = before.headers().clone();
        assert_eq!(of_response(before).headers(), &headers);
        assert!(of_response(http::Response::new(())).headers().is_empty());
    }
}

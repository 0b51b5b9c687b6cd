//! What it means when there is no answer of the function itself.

use crate::publish::classify::{chain, never_connected, never_sent};
use crate::upstream::deadline::too_late;
use aws_sdk_lambda::config::http::HttpResponse;
use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::operation::invoke::InvokeError;
use queuebridge_proto::error::{self, reason};
use serde::Deserialize;
use std::time::Duration;
use tonic::{Code, Status};

/// When Lambda does not say how long to wait.
const THROTTLED: Duration = Duration::from_secs(1);

/// A failed invocation, and whether the function has certainly not run.
pub(super) enum Failure {
    NotRun(Status),
    MayHaveRun(Status),
}

/// The Invoke API did not invoke it, or could not be asked, or its answer was lost.
pub(super) fn of_call(error: &SdkError<InvokeError, HttpResponse>) -> Failure {
    match error {
        SdkError::ServiceError(answer) => of_service(answer.err(), answer.raw().status().as_u16()),
        SdkError::ConstructionFailure(_) => unavailable(error, true),
        SdkError::DispatchFailure(failure) => {
            unavailable(error, failure.is_user() || never_sent(error))
        }
        _ => unavailable(error, false),
    }
}

/// Whether the Invoke API could not even be connected to.
pub(super) fn is_unreachable(error: &SdkError<InvokeError, HttpResponse>) -> bool {
    matches!(error, SdkError::DispatchFailure(_)) && never_connected(error)
}

fn unavailable(error: &SdkError<InvokeError, HttpResponse>, not_run: bool) -> Failure {
    tracing::warn!(error = chain(error), "a function cannot be invoked");
    let message = "the Invoke API cannot be reached";
    let status = error::status(Code::Unavailable, reason::UPSTREAM_UNAVAILABLE, message);
    if not_run { Failure::NotRun(status) } else { Failure::MayHaveRun(status) }
}

/// A refusal proves that nothing was run; a failure inside the service does not.
fn of_service(error: &InvokeError, http_status: u16) -> Failure {
    let code = error.code().unwrap_or("no code");
    if let InvokeError::TooManyRequestsException(throttled) = error {
        let seconds = throttled.retry_after_seconds().and_then(|text| text.parse().ok());
        return Failure::NotRun(throttle(seconds.map_or(THROTTLED, Duration::from_secs)));
    }
    tracing::warn!(code, http_status, error = error.message(), "a function is not invoked");
    let status = match http_status {
        429 => throttle(THROTTLED),
        413 => super::collect::too_large(super::collect::DOCUMENT),
        404 => missing("the upstream function does not exist"),
        400..=499 => missing(&format!("the upstream function cannot be invoked: {code}")),
        _ => {
            let message = format!("the upstream function could not be invoked: {code}");
            let status = error::status(Code::Unavailable, reason::UPSTREAM_UNAVAILABLE, message);
            return Failure::MayHaveRun(status);
        }
    };
    Failure::NotRun(status)
}

fn throttle(after: Duration) -> Status {
    let message = "the upstream function has as many calls as it may have";
    error::retry_after(Code::ResourceExhausted, reason::UPSTREAM_THROTTLED, message, after)
}

fn missing(message: &str) -> Status {
    error::status(Code::FailedPrecondition, reason::UPSTREAM_MISSING, message)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FunctionError {
    error_type: String,
    error_message: String,
}

/// The function was started and ended without an answer. What it says is for its
/// log and not for callers.
pub(super) fn of_function(document: &[u8]) -> Status {
    let FunctionError { error_type, error_message } =
        serde_json::from_slice(document).unwrap_or_default();
    if error_type == "Sandbox.Timedout" || error_message.contains("Task timed out after") {
        return too_late();
    }
    if error_type == "Function.ResponseSizeTooLarge" {
        let message = "the answer is larger than the 6 MB that a function may give";
        return error::status(Code::ResourceExhausted, reason::RESPONSE_TOO_LARGE, message);
    }
    tracing::warn!(error_type, error_message, "an upstream function has failed");
    let message = "the upstream function failed; its log has the detail";
    error::status(Code::Internal, reason::UPSTREAM_FAILED, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_lambda::types::error::TooManyRequestsException;
    use tonic_types::StatusExt;

    fn service(http_status: u16) -> Failure {
        of_service(&InvokeError::unhandled("made up"), http_status)
    }

    #[test]
    fn refusals_are_certain_and_failures_are_not() {
        for (http_status, code) in [
            (429, Code::ResourceExhausted),
            (413, Code::ResourceExhausted),
            (404, Code::FailedPrecondition),
            (403, Code::FailedPrecondition),
        ] {
            let Failure::NotRun(status) = service(http_status) else { panic!("{http_status}") };
            assert_eq!(status.code(), code, "{http_status}");
        }
        let Failure::MayHaveRun(status) = service(500) else { panic!("it may have run") };
        assert_eq!(status.code(), Code::Unavailable);
    }

    #[test]
    fn a_throttle_says_when_to_come_back() {
        let throttled = TooManyRequestsException::builder().retry_after_seconds("7").build();
        let failure = of_service(&InvokeError::TooManyRequestsException(throttled), 429);
        let Failure::NotRun(status) = failure else { panic!("it did not run") };
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "7000");
        let delay = status.get_details_retry_info().unwrap().retry_delay;
        assert_eq!(delay, Some(Duration::from_secs(7)));
    }

    #[test]
    fn the_end_of_a_function_is_told_without_its_text() {
        for (document, code) in [
            (r#"{"errorMessage":"RequestId: 1 Error: Task timed out after 3.00 seconds"}"#, 4),
            (r#"{"errorType":"Sandbox.Timedout","errorMessage":"x"}"#, 4),
            (r#"{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"x"}"#, 8),
            (r#"{"errorType":"Runtime.ExitError","errorMessage":"secret"}"#, 13),
            ("secret", 13),
        ] {
            let status = of_function(document.as_bytes());
            assert_eq!(status.code() as i32, code, "{document}");
            assert!(!status.message().contains("secret"));
        }
    }
}

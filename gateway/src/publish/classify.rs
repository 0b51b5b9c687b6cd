//! What an answer of SQS or SNS means for a message. Both speak of the same
//! errors, and neither is documented code by code for the entries of a batch.

use super::PublishError;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use queuebridge_store::aws::is_too_large;
use std::error::Error;
use std::io::ErrorKind;

/// Codes that say: not now. The forms differ by service, protocol and key
/// store. The SDK knows only some of them as throttles; of SQS's two spellings
/// of a throttled KMS it knows none.
const THROTTLES: [&str; 14] = [
    "RequestThrottled",
    "RequestThrottledException",
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "Throttled",
    "ThrottledException",
    "TooManyRequestsException",
    "KMS.ThrottlingException",
    "KmsThrottled",
    "KMSThrottling",
    "KMSThrottlingException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
];

/// Codes of the service's own failure: for one entry of an answered batch it
/// says that this entry was not taken; for a whole call it says nothing.
const INTERNAL: [&str; 4] =
    ["InternalError", "InternalFailure", "InternalErrorException", "InternalServerError"];

/// Results of the entries of one call, in order. What the service lists as
/// neither taken nor failed is unknown.
pub(super) struct Results(Vec<Option<Result<(), PublishError>>>);

impl Results {
    pub(super) fn new(entries: usize) -> Self {
        Self(vec![None; entries])
    }

    /// The service took the entry.
    pub(super) fn taken(&mut self, id: Option<&str>) {
        self.put(id, Ok(()));
    }

    /// The service did not take the entry.
    pub(super) fn failed(
        &mut self,
        id: &str,
        sender_fault: bool,
        code: &str,
        message: Option<&str>,
    ) {
        let text = format!("{code}: {}", message.unwrap_or("no message"));
        if is_too_large(code, message) {
            return self.put(Some(id), Err(PublishError::TooLarge(text)));
        }
        let again = !sender_fault || is_any(code, &THROTTLES) || is_any(code, &INTERNAL);
        let error = if again { PublishError::Retryable(text) } else { PublishError::Refused(text) };
        self.put(Some(id), Err(error));
    }

    pub(super) fn finish(self) -> Vec<Result<(), PublishError>> {
        let unlisted = || Err(PublishError::Unknown("the answer does not list it".to_owned()));
        self.0.into_iter().map(|result| result.unwrap_or_else(unlisted)).collect()
    }

    fn put(&mut self, id: Option<&str>, result: Result<(), PublishError>) {
        let index = id.and_then(|id| id.parse::<usize>().ok());
        if let Some(slot) = index.and_then(|index| self.0.get_mut(index)) {
            *slot = Some(result);
        }
    }
}

/// What the failure of a whole call means for each of its messages. Whatever
/// may have happened after the request left is unknown.
pub(super) fn call<E>(error: &SdkError<E, HttpResponse>) -> PublishError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ConstructionFailure(_) => PublishError::Refused(chain(error)),
        SdkError::DispatchFailure(failure) if failure.is_user() => {
            PublishError::Refused(chain(error))
        }
        SdkError::DispatchFailure(_) if never_sent(error) => PublishError::Retryable(chain(error)),
        SdkError::ServiceError(answer) => {
            service(answer.err().code(), answer.err().message(), answer.raw().status().as_u16())
        }
        _ => PublishError::Unknown(chain(error)),
    }
}

/// An error that the service answered. A refusal proves that nothing was taken;
/// a failure inside the service, or of a proxy before it, proves nothing.
fn service(code: Option<&str>, message: Option<&str>, http_status: u16) -> PublishError {
    let code = code.unwrap_or("no code");
    let too_large = is_too_large(code, message);
    let text = format!("{code} (HTTP {http_status}): {}", message.unwrap_or("no message"));
    if is_any(code, &THROTTLES) || matches!(http_status, 429 | 503) {
        PublishError::Retryable(text)
    } else if http_status >= 500 || is_any(code, &INTERNAL) {
        PublishError::Unknown(text)
    } else if too_large {
        PublishError::TooLarge(text)
    } else {
        PublishError::Refused(text)
    }
}

/// The query protocol of old puts a namespace before some codes.
fn is_any(code: &str, known: &[&str]) -> bool {
    known.contains(&code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code))
}

/// Whether it is certain that nothing was sent, because no connection came to be, or no
/// credentials were to be had. The SDK knows it and does not tell, so that its causes are
/// asked.
pub(crate) fn never_sent(error: &(dyn Error + 'static)) -> bool {
    never_connected(error) || causes(error).any(|cause| cause.is::<CredentialsError>())
}

/// Whether no connection came to be.
pub(crate) fn never_connected(error: &(dyn Error + 'static)) -> bool {
    let kinds =
        [ErrorKind::ConnectionRefused, ErrorKind::HostUnreachable, ErrorKind::NetworkUnreachable];
    causes(error).any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        let client = cause.downcast_ref::<hyper_util::client::legacy::Error>();
        io.is_some_and(|error| kinds.contains(&error.kind()))
            || client.is_some_and(hyper_util::client::legacy::Error::is_connect)
    })
}

/// An error and what has caused it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// The error with its causes, in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(this) = cause {
        text.push_str(": ");
        text.push_str(&this.to_string());
        cause = this.source();
    }
    text
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) mod wire;

use super::*;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_s3::primitives::SdkBody;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ConnectorError, ErrorMetadata};
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchError;
use aws_sdk_sqs::types::error::KmsThrottled;

type Failure = SdkError<SendMessageBatchError, HttpResponse>;

fn answered(code: &str, http_status: u16) -> PublishError {
    let metadata = ErrorMetadata::builder().code(code).message("because").build();
    service_error(SendMessageBatchError::generic(metadata), http_status)
}

fn service_error(error: SendMessageBatchError, http_status: u16) -> PublishError {
    let status = http_status.try_into().unwrap();
    call(&Failure::service_error(error, HttpResponse::new(status, SdkBody::empty())))
}

fn io(kind: ErrorKind) -> Failure {
    Failure::dispatch_failure(ConnectorError::io(std::io::Error::from(kind).into()))
}

#[test]
fn a_throttled_call_may_be_retried_in_every_spelling() {
    for code in ["RequestThrottled", "ThrottlingException", "KMSThrottling"] {
        assert!(matches!(answered(code, 400), PublishError::Retryable(_)), "{code}");
    }
    let typed = KmsThrottled::builder()
        .meta(ErrorMetadata::builder().code("KMS.ThrottlingException").build())
        .build();
    let typed = service_error(SendMessageBatchError::KmsThrottled(typed), 400);
    assert!(matches!(typed, PublishError::Retryable(_)));
    let namespaced = answered("AWS.SimpleQueueService.RequestThrottled", 403);
    assert!(matches!(namespaced, PublishError::Retryable(_)));
    assert!(matches!(answered("SlowDownPlease", 503), PublishError::Retryable(_)));
}

#[test]
fn a_refused_call_is_refused_and_names_the_code() {
    let error = answered("QueueDoesNotExist", 400);
    assert_eq!(error, PublishError::Refused("QueueDoesNotExist (HTTP 400): because".into()));
    let construction = Failure::construction_failure("no region");
    assert!(matches!(call(&construction), PublishError::Refused(_)));
}

#[test]
fn whatever_may_have_happened_after_sending_is_unknown() {
    assert!(matches!(answered("InternalError", 500), PublishError::Unknown(_)));
    assert!(matches!(answered("no such code", 502), PublishError::Unknown(_)));
    assert!(matches!(call(&io(ErrorKind::ConnectionReset)), PublishError::Unknown(_)));
    let late = Failure::timeout_error("too late");
    assert!(matches!(call(&late), PublishError::Unknown(_)));
    let reply = HttpResponse::new(200.try_into().unwrap(), SdkBody::from("<"));
    let garbled = Failure::response_error("not JSON", reply);
    assert!(matches!(call(&garbled), PublishError::Unknown(_)));
}

#[test]
fn without_a_connection_nothing_was_sent() {
    assert!(matches!(call(&io(ErrorKind::ConnectionRefused)), PublishError::Retryable(_)));
}

/// As a provider that cannot be reached, or does not know this task.
#[derive(Debug)]
struct NoCredentials;

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::provider_error("HTTP 500")))
    }
}

#[tokio::test]
async fn without_credentials_nothing_was_sent() {
    // Nobody listens there, and nobody is asked.
    let config = wire::sdk(([127, 0, 0, 1], 9).into()).into_builder();
    let config = config.credentials_provider(SharedCredentialsProvider::new(NoCredentials)).build();
    let failed = aws_sdk_sqs::Client::new(&config).send_message_batch().queue_url("q").send().await;
    let error = call(&failed.unwrap_err());
    assert!(
        matches!(&error, PublishError::Retryable(why) if why.contains("HTTP 500")),
        "{error:?}"
    );
}

#[test]
fn each_entry_gets_its_own_result_and_an_unlisted_one_is_unknown() {
    let mut results = Results::new(6);
    results.taken(Some("1"));
    results.failed("0", true, "InvalidMessageContents", Some("bad letter"));
    results.failed("2", false, "InternalError", None);
    results.failed("3", true, "KMS.ThrottlingException", None);
    results.failed("4", false, "SomethingNew", None);
    // Ids that were never sent hurt nobody.
    results.taken(Some("77"));
    results.taken(Some("x"));
    results.taken(None);
    let results = results.finish();
    let refused = PublishError::Refused("InvalidMessageContents: bad letter".into());
    assert_eq!(results[0], Err(refused));
    assert_eq!(results[1], Ok(()));
    for again in &results[2..5] {
        assert!(matches!(again, Err(PublishError::Retryable(_))));
    }
    assert!(matches!(results[5], Err(PublishError::Unknown(_))));
}

//! The AWS SDK as all programs of the bridge use it.

mod at_most;
mod refusals;

pub use refusals::is_too_large;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::service_config::ServiceConfigKey;
use std::time::Duration;

/// A connection within a Region is made in milliseconds: past this time the
/// host is not there.
const CONNECT: Duration = Duration::from_secs(2);
/// One attempt: the stores and queues answer in tens of milliseconds.
const ATTEMPT: Duration = Duration::from_secs(10);
/// One operation with its retries.
const OPERATION: Duration = Duration::from_secs(30);
/// One part of a large object, and one operation on it with its retries.
const PART: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(180)];
/// One attempt to publish. Publishers try again by themselves, within 10 s.
const PUBLISH: Duration = Duration::from_secs(4);
/// Before the first repetition, doubled for the second: the SDK's own second is long for
/// services that answer in milliseconds.
const BACKOFF: Duration = Duration::from_millis(50);
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(90);
/// How long an unused connection to the bucket is kept: S3 ends them after 20 s, and a
/// request on one that is just being ended costs a repetition, or stalls.
const IDLE_TO_THE_BUCKET: Duration = Duration::from_secs(15);
/// Requests to the table that one process has open at once, each on a connection of its
/// own: a thousand callers who come back together are not a thousand handshakes. At 5 ms
/// a request it is 25,000 a second.
const TO_THE_TABLE: usize = 128;

/// Credentials, Region and endpoint as the SDK finds them by itself
/// (`AWS_ENDPOINT_URL` points elsewhere, also to plain HTTP), with time-outs, so that a
/// network that has gone silent is noticed, and over a TLS library that needs no further
/// tools to be built.
///
/// The SDK tries throttles, errors of the service and broken connections again,
/// three times in all: every store operation is conditional or idempotent. The
/// publishers turn this off for themselves.
pub fn loader() -> ConfigLoader {
    let http = http(IDLE);
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(timeouts(ATTEMPT, OPERATION))
        .retry_config(RetryConfig::standard().with_max_attempts(3).with_initial_backoff(BACKOFF))
}

/// A client whose unused connections are kept for so long.
fn http(idle: Duration) -> SharedHttpClient {
    let builder = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
    builder.pool_idle_timeout(idle).build_https()
}

/// The time-outs of one attempt to publish, where the SDK repeats nothing.
#[must_use]
pub fn publishing() -> TimeoutConfig {
    timeouts(PUBLISH, PUBLISH)
}

/// The time-outs of calls that the service holds open for `wait`, such as long polls of
/// SQS. One that was given up by its caller would go on at the other side, and what it
/// then took would be hidden from everyone.
#[must_use]
pub fn long_poll(wait: Duration) -> TimeoutConfig {
    timeouts(wait + ATTEMPT, wait + OPERATION)
}

fn timeouts(attempt: Duration, operation: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build()
}

/// A client for the table.
#[must_use]
pub fn dynamodb(sdk: &SdkConfig) -> aws_sdk_dynamodb::Client {
    let mut config = aws_sdk_dynamodb::config::Builder::from(sdk);
    if let Some(http) = sdk.http_client() {
        config = config.http_client(at_most::at_most(TO_THE_TABLE, http));
    }
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

/// A client for the bucket. At another endpoint buckets are part of the path: there is
/// no name service that would know a host per bucket.
#[must_use]
pub fn s3(sdk: &SdkConfig) -> aws_sdk_s3::Client {
    let key = ServiceConfigKey::builder()
        .service_id("S3")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    let own = key.ok().and_then(|key| sdk.service_config()?.load_config(key));
    let elsewhere = sdk.endpoint_url().is_some() || own.is_some();
    let [part, operation] = PART;
    let config = aws_sdk_s3::config::Builder::from(sdk)
        .http_client(http(IDLE_TO_THE_BUCKET))
        .timeout_config(timeouts(part, operation))
        .force_path_style(elsewhere)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

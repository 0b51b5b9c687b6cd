//! The AWS SDK's configuration for this process.

use aws_config::environment::{
    EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider,
};
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::RegionProviderChain;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_sdk_sqs::config::Credentials;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use std::time::Duration;

/// A connection within a Region is made in milliseconds: past this time the
/// host is not there.
const CONNECT: Duration = Duration::from_secs(2);
/// One attempt: the stores and queues answer in tens of milliseconds.
const ATTEMPT: Duration = Duration::from_secs(10);
/// One operation with its retries.
const OPERATION: Duration = Duration::from_secs(30);

/// Credentials, Region and endpoint as the SDK finds them by itself
/// (`AWS_ENDPOINT_URL` points elsewhere, also to plain HTTP), with time-outs,
/// and over a TLS library that needs no further tools to be built.
///
/// The SDK tries throttles, errors of the service and broken connections again,
/// three times in all: every store operation is conditional or idempotent. The
/// publishers turn this off for themselves.
pub async fn sdk_config() -> SdkConfig {
    loader().load().await
}

/// As [`sdk_config`], at another endpoint, such as an emulator on this machine.
/// Credentials and Region come from the environment variables; without them any
/// will do there.
pub async fn sdk_config_at(url: &str) -> SdkConfig {
    let any = Credentials::new("test", "test", None, None, "endpoint");
    let environment = EnvironmentVariableCredentialsProvider::new();
    let credentials =
        CredentialsProviderChain::first_try("environment", environment).or_else("endpoint", any);
    let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(Region::from_static("us-east-1"));
    loader().endpoint_url(url).credentials_provider(credentials).region(region).load().await
}

fn loader() -> ConfigLoader {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(OPERATION)
        .build();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(3))
}

/// A client for S3. At another endpoint buckets are part of the path: there is
/// no name service that would know a host per bucket.
#[must_use]
pub fn s3_client(sdk: &SdkConfig) -> aws_sdk_s3::Client {
    let elsewhere = sdk.endpoint_url().is_some();
    let config = aws_sdk_s3::config::Builder::from(sdk).force_path_style(elsewhere).build();
    aws_sdk_s3::Client::from_conf(config)
}

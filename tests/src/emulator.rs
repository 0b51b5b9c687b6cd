//! An AWS on this machine: queues, topics, tables and buckets.
//!
//! The emulator is a Python program, installed once into the target directory
//! and started once per test process. `AWS_ENDPOINT_URL` names another one that
//! runs already.

mod process;

use crate::python;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::Credentials;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use process::Process;
use tokio::sync::OnceCell;

/// A running emulator. It ends with the test process, however that ends.
#[derive(Debug)]
pub struct Emulator {
    endpoint: String,
    // Closing its standard input ends it.
    _process: Option<Process>,
}

impl Emulator {
    /// The emulator of this test process, started by whoever asks first.
    ///
    /// # Panics
    /// When it cannot be installed or started, with what went wrong.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Emulator> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// One for the caller alone.
    ///
    /// # Panics
    /// As [`Emulator::shared`].
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one module of the tests that reads it"
    )]
    pub async fn start() -> Self {
        if let Ok(endpoint) = std::env::var("AWS_ENDPOINT_URL") {
            return Self { endpoint, _process: None };
        }
        let python = tokio::task::spawn_blocking(python::interpreter).await;
        let python = python.unwrap_or_else(|error| panic!("the installation failed: {error}"));
        let python = python.unwrap_or_else(|error| panic!("the emulator is missing: {error}"));
        let started = Process::start(&python).await;
        let process = started.unwrap_or_else(|error| panic!("the emulator: {error}"));
        Self { endpoint: process.endpoint(), _process: Some(process) }
    }

    /// Its URL.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The SDK's configuration for it. Clients belong to the runtime that made
    /// them: every test makes its own.
    pub async fn aws_config(&self) -> SdkConfig {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .endpoint_url(&self.endpoint)
            .credentials_provider(Credentials::new("test", "test", None, None, "emulator"))
            .region(Region::from_static("us-east-1"))
            .load()
            .await
    }

    /// A DynamoDB client for it.
    pub async fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.aws_config().await)
    }

    /// An SQS client for it.
    pub async fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.aws_config().await)
    }

    /// An SNS client for it.
    pub async fn sns(&self) -> aws_sdk_sns::Client {
        aws_sdk_sns::Client::new(&self.aws_config().await)
    }

    /// An S3 client for it; buckets are part of the path, because their names do
    /// not resolve here.
    pub async fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.aws_config().await);
        aws_sdk_s3::Client::from_conf(config.force_path_style(true).build())
    }
}

/// A name that nothing else has: `prefix-` and 16 characters. It fits queues,
/// topics, tables and buckets, if the prefix does.
#[must_use]
pub fn unique(prefix: &str) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{prefix}-{}", &random[..16])
}

//! A worker process: read config, build, run, drain.

use crate::config::{Config, ConfigErrors, Host};
use crate::host::{lambda, outbox::SqsOutbox, poller, sqs::SqsSource};
use crate::runner::{Runner, RunnerSettings};
use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::tls;
use queuebridge_store::dynamodb::DynamoResultStore;
use queuebridge_store::s3::S3PayloadStore;
use queuebridge_store::{Clock, PayloadStore};
use queuebridge_web::Web;
use std::future::Future;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tonic::service::Routes;

/// A worker around a service owner's tonic services.
pub struct Worker {
    routes: Routes,
}

/// Why a worker could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The environment has mistakes.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The Lambda Runtime API cannot be used.
    #[error("the Lambda runtime failed: {0}")]
    Lambda(lambda_runtime::Error),
}

impl Worker {
    /// A worker that serves `routes`.
    #[must_use]
    pub fn new(routes: Routes) -> Self {
        Self { routes }
    }

    /// Runs as a Lambda function where there is a Lambda Runtime API, else as a
    /// long-poll loop on `QB_QUEUE_URL` until SIGTERM or SIGINT.
    ///
    /// # Errors
    /// See [`RunError`].
    pub async fn run(self) -> Result<(), RunError> {
        let config = Config::from_process()?;
        let shutdown = shutdown_signal();
        log_to_stderr(&config);
        let sdk = sdk_config().await;
        let sqs = aws_sdk_sqs::Client::new(&sdk);
        let outbox = SqsOutbox::new(sqs.clone(), config.parking.clone());
        let routes = self.routes.clone();
        let runner = runner(self.routes, &config, &sdk, outbox);
        match config.host {
            Host::Lambda => {
                let web = Web::new(routes, None);
                lambda::run(runner, sqs, web, config.invoke_mode).await.map_err(RunError::Lambda)
            }
            Host::Poller(queue_url) => {
                let settings = poller::PollerSettings {
                    concurrency: config.concurrency,
                    drain_timeout: config.drain_timeout,
                };
                poller::run(runner, SqsSource::new(sqs, queue_url), settings, shutdown).await;
                Ok(())
            }
        }
    }
}

fn runner(routes: Routes, config: &Config, sdk: &SdkConfig, outbox: SqsOutbox) -> Arc<Runner> {
    let dynamodb = aws_sdk_dynamodb::Client::new(sdk);
    let store = DynamoResultStore::new(dynamodb, config.table.clone(), config.copies_survive);
    let payloads = config.payload_bucket.as_ref().map(|bucket| {
        // Path style: what every S3-compatible endpoint understands.
        let s3 = aws_sdk_s3::config::Builder::from(sdk).force_path_style(true).build();
        let s3 = aws_sdk_s3::Client::from_conf(s3);
        let store = S3PayloadStore::new(s3, bucket.clone(), config.payload_prefix.clone());
        Arc::new(store) as Arc<dyn PayloadStore>
    });
    let settings = RunnerSettings {
        role: config.role,
        lease: config.lease,
        concurrency: config.concurrency,
        ..RunnerSettings::default()
    };
    let keys = config.envelope_keys.clone();
    let outbox = Arc::new(outbox);
    Runner::new(routes, Arc::new(store), payloads, outbox, keys, Clock::system(), settings)
}

/// The SDK's configuration with the TLS backend of this workspace.
async fn sdk_config() -> SdkConfig {
    let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    let http = aws_smithy_http_client::Builder::new().tls_provider(provider).build_https();
    aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await
}

/// JSON lines on standard error, which both Lambda and containers collect. A
/// subscriber that the owner has installed before stays.
fn log_to_stderr(config: &Config) {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    let targets: tracing_subscriber::filter::Targets =
        config.log_filter.parse().unwrap_or_else(|_| {
            tracing_subscriber::filter::Targets::new().with_default(tracing::Level::INFO)
        });
    let json = tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr);
    let _ = tracing_subscriber::registry().with(targets).with(json).try_init();
}

/// Resolves at SIGTERM or SIGINT. From the call on, and not only once it is
/// awaited, these signals do not end the process by themselves.
pub fn shutdown_signal() -> impl Future<Output = ()> + Send {
    let on = |kind| signal(kind).inspect_err(|error| tracing::error!(%error, "no signals"));
    let terminate = on(SignalKind::terminate());
    let interrupt = on(SignalKind::interrupt());
    async move {
        match (terminate, interrupt) {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            // Without signals of its own the process ends as the system has it.
            _ => std::future::pending().await,
        }
    }
}

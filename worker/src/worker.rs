//! A worker process: read config, build, run, drain.

use crate::callbacks::Sender;
use crate::config::{self, Bridge, Config, ConfigErrors, EncryptionConfig, Host};
use crate::host::outbox::{Queues, SqsOutbox};
use crate::host::pointers::Pointers;
use crate::host::poller::{self, PollerSettings};
use crate::host::server::{self, ServeError, ServerSettings};
use crate::host::targets::NamedTargets;
use crate::host::{lambda, sqs::SqsSource};
use crate::runner::{JobStores, Role, Runner, RunnerSettings};
use crate::telemetry::{self, Emf, Telemetry};
use aws_config::SdkConfig;
use futures_util::TryFutureExt;
use queuebridge_store::dynamodb::DynamoResultStore;
use queuebridge_store::encryption::{Encryption, Writes, master_keys};
use queuebridge_store::s3::S3PayloadStore;
use queuebridge_store::{Clock, PayloadStore, Seal, Stores, aws};
use queuebridge_web::{DescriptorError, Descriptors, Web};
use std::fmt;
use std::future::Future;
use std::io::Write;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// A worker around a service owner's tonic services.
pub struct Worker {
    routes: Routes,
    descriptor_sets: Vec<&'static [u8]>,
}

/// Why a worker could not run. `Debug` is the same text as `Display`, because a `main` that
/// returns the error shows it by that.
#[derive(thiserror::Error)]
pub enum RunError {
    /// The environment has mistakes.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The given descriptors cannot be read.
    #[error(transparent)]
    Descriptors(#[from] DescriptorError),
    /// The system's certificates cannot be read.
    #[error("the certificates cannot be read: {0}")]
    Certificates(std::io::Error),
    /// The Lambda Runtime API cannot be used.
    #[error("the Lambda runtime failed: {0}")]
    Lambda(lambda_runtime::Error),
    /// The gRPC server could not run.
    #[error(transparent)]
    Server(#[from] ServeError),
}

impl fmt::Debug for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Worker {
    /// A worker that serves `routes`.
    #[must_use]
    pub fn new(routes: Routes) -> Self {
        Self { routes, descriptor_sets: Vec::new() }
    }

    /// Adds a serialized `FileDescriptorSet` of the services, as `tonic_prost_build`
    /// writes it. Doors that speak HTTP need it for JSON, for GET and for streams of
    /// Connect; a gRPC server shows it by reflection.
    #[must_use]
    pub fn descriptors(mut self, set: &'static [u8]) -> Self {
        self.descriptor_sets.push(set);
        self
    }

    /// Runs as a Lambda function where there is a Lambda Runtime API: on events of
    /// SQS, load balancers, HTTP APIs and Function URLs. Elsewhere as a gRPC server
    /// on `QB_LISTEN`, as a long-poll loop on `QB_QUEUE_URL`, or as both, until
    /// SIGTERM or SIGINT.
    ///
    /// If `--help` or `--version` is the only argument of the process, it shows that instead.
    ///
    /// # Errors
    /// See [`RunError`].
    pub async fn run(self) -> Result<(), RunError> {
        if let Some(text) = config::asked_for(std::env::args()) {
            // A reader that goes away has seen enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return Ok(());
        }
        let config = Config::from_process()?;
        let shutdown = shutdown_signal();
        let telemetry =
            Telemetry { metrics: metrics(&config), ..telemetry::subscriber::install(&config) };
        let descriptors = match self.descriptor_sets.as_slice() {
            [] => None,
            sets => Some(Arc::new(Descriptors::parse(sets.iter().copied())?)),
        };
        let sdk = aws::loader().load().await;
        let sqs = aws_sdk_sqs::Client::new(&sdk);
        let sender = sender(&config, &sdk, &sqs)?;
        let runner = config.bridge.as_ref().map(|bridge| {
            let encryption = encryption(bridge, &sdk);
            let seal = Seal::new(bridge.envelope_keys.clone(), encryption.clone());
            let outbox = SqsOutbox::new(sqs.clone(), queues(&config), seal.clone());
            let descriptors = descriptors.clone();
            let telemetry = telemetry.clone();
            let routes = self.routes.clone();
            let shared = Shared { descriptors, sender, telemetry, seal, encryption };
            runner(routes, shared, &config, bridge, &sdk, outbox)
        });
        let (queue_url, listen) = match config.host {
            Host::Lambda => {
                let web = Web::new(self.routes, descriptors);
                // The hosts are boxed: as parts of the owner's `main` they would be nested
                // too deeply for the compiler.
                let (invoke_mode, base_path) = (config.invoke_mode, config.base_path);
                let door = lambda::DoorSettings { invoke_mode, base_path };
                let run = lambda::run(runner, sqs, web, door, telemetry);
                return Box::pin(run).await.map_err(RunError::Lambda);
            }
            Host::Container { queue_url, listen } => (queue_url, listen),
        };
        let stopping = CancellationToken::new();
        let serving = async {
            let Some(address) = listen else { return Ok(()) };
            let listener = server::listen(address).await?;
            let settings = ServerSettings {
                drain_timeout: config.drain_timeout,
                descriptor_sets: self.descriptor_sets,
                descriptors,
                hosts: config.hosts.clone(),
            };
            Box::pin(server::serve(self.routes, listener, settings, stopping.cancelled())).await
        };
        let polling = async {
            let (Some(runner), Some(queue_url)) = (runner, queue_url) else { return };
            let settings = PollerSettings {
                concurrency: config.concurrency,
                drain_timeout: config.drain_timeout,
            };
            let source = SqsSource::new(sqs, queue_url, config.receive_wait);
            Box::pin(poller::run(runner, source, settings, stopping.cancelled())).await;
        };
        // If the server cannot run, the loop is stopped, too.
        let serving = serving.inspect_err(|_| stopping.cancel());
        let stop = async {
            tokio::select! {
                () = shutdown => stopping.cancel(),
                () = stopping.cancelled() => {}
            }
        };
        let (served, (), ()) = tokio::join!(serving, polling, stop);
        telemetry.shut_down().await;
        Ok(served?)
    }
}

/// What a runner shares with others of its process.
struct Shared {
    descriptors: Option<Arc<Descriptors>>,
    sender: Option<Arc<Sender>>,
    telemetry: Telemetry,
    seal: Seal,
    encryption: Option<Encryption>,
}

/// It opens data keys, and makes none.
fn encryption(bridge: &Bridge, sdk: &SdkConfig) -> Option<Encryption> {
    let EncryptionConfig { keys, required } = bridge.encryption.as_ref()?;
    let keys = master_keys(keys, &bridge.table, sdk);
    Some(Encryption::new(keys, Writes::Opened, *required))
}

fn sender(
    config: &Config,
    sdk: &SdkConfig,
    sqs: &aws_sdk_sqs::Client,
) -> Result<Option<Arc<Sender>>, RunError> {
    if config.role != Role::Callbacks {
        return Ok(None);
    }
    let named = NamedTargets::new(sqs.clone(), aws_sdk_sns::Client::new(sdk));
    let sender = Sender::new(config.sender.clone(), Some(named)).map_err(RunError::Certificates)?;
    Ok(Some(Arc::new(sender)))
}

fn runner(
    routes: Routes,
    shared: Shared,
    config: &Config,
    bridge: &Bridge,
    sdk: &SdkConfig,
    outbox: SqsOutbox,
) -> Arc<Runner> {
    let dynamodb = aws::dynamodb(sdk);
    let store = DynamoResultStore::new(dynamodb, bridge.table.clone(), bridge.copies_survive);
    let payloads = bridge.payload_bucket.as_ref().map(|bucket| {
        let store =
            S3PayloadStore::new(aws::s3(sdk), bucket.clone(), bridge.payload_prefix.clone());
        Arc::new(store) as Arc<dyn PayloadStore>
    });
    let settings = RunnerSettings {
        role: config.role,
        lease: config.lease,
        concurrency: config.concurrency,
        branch: config.branch.clone(),
        descriptors: shared.descriptors,
        pointers: pointers(config, sdk),
        callbacks: shared.sender,
        telemetry: shared.telemetry,
        ..RunnerSettings::default()
    };
    let mut stores = Stores::new(Arc::new(store), payloads);
    if let Some(encryption) = shared.encryption {
        stores = stores.encrypted(encryption);
    }
    let Stores { results, gathers, streams, payloads, .. } = stores;
    let (stores, outbox) = (JobStores { results, gathers, streams }, Arc::new(outbox));
    Runner::new(routes, stores, payloads, outbox, shared.seal, Clock::system(), settings)
}

fn pointers(config: &Config, sdk: &SdkConfig) -> Option<Arc<Pointers>> {
    let buckets = config.pointed_buckets.clone();
    (!buckets.is_empty()).then(|| Arc::new(Pointers::new(aws::s3(sdk), buckets)))
}

fn queues(config: &Config) -> Queues {
    Queues { parking: config.parking.clone(), callbacks: config.callbacks.clone() }
}

fn metrics(config: &Config) -> Option<Arc<Emf>> {
    let emf = |namespace: &String| Arc::new(Emf::stdout(namespace, config.host == Host::Lambda));
    config.metrics.as_ref().map(emf)
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

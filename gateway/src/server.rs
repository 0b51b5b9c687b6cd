//! Building the gateway, serving it, draining it.

use crate::admission::Admission;
use crate::callback::Callbacks;
use crate::config::{CallbackConfig, Config, UpstreamTarget};
use crate::deployment;
use crate::descriptors::files::{self, FileMistake};
use crate::descriptors::{DescriptorRegistry, Routed, upstreams};
use crate::front::{Cors, Front, Protocols};
use crate::identity::Identity;
use crate::jobs::{JobsService, Parts};
use crate::listener::Listener;
use crate::listener::tls::{Tls, TlsMistake};
use crate::lookup::Lookup;
use crate::native::Native;
use crate::open_files;
use crate::publish::Publisher;
use crate::publish::batcher::Batcher;
use crate::publish::sqs::SqsPublisher;
use crate::reflection;
use crate::replies::{self, Replies, keeper};
use crate::route::Routes;
use crate::submit::FrontDoor;
use crate::typed::Typed;
use crate::upstream::Upstream;
use crate::upstream::grpc::DialError;
use crate::view::Methods;
use crate::waiter::Waiter;
use futures_util::{Stream, StreamExt};
use queuebridge_proto::Keyring;
use queuebridge_proto::longrunning::operations_server::OperationsServer;
use queuebridge_proto::v1::executions_server::ExecutionsServer;
use queuebridge_proto::v1::jobs_server::JobsServer;
use queuebridge_store::{Clock, Gathers, RECORD_BYTES, Stores};
use queuebridge_web::DescriptorError;
use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::layer::layer_fn;

/// What a job may have around its response: both metadata of 8 KiB, and the rest.
const AROUND_A_RESPONSE: usize = 32 * 1024;
/// So much before the end of the drain time-out calls in hand are answered, whatever
/// there is to say.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What health checks may ask for.
const SERVICES: [&str; 3] = [
    queuebridge_proto::JOBS_SERVICE,
    queuebridge_proto::OPERATIONS_SERVICE,
    queuebridge_proto::EXECUTIONS_SERVICE,
];

/// What the gateway serves by itself.
const OWN_DESCRIPTORS: [&[u8]; 4] = [
    queuebridge_proto::FILE_DESCRIPTOR_SET,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
];

/// What a gateway is made of, beside its routes and stores.
#[derive(Clone)]
pub struct Settings {
    /// The tenant of every caller.
    pub tenant: String,
    /// Sign and verify job ids.
    pub job_id_keys: Keyring,
    /// Seal envelopes.
    pub envelope_keys: Keyring,
    /// The largest gRPC message, either way.
    pub max_message_bytes: usize,
    /// Submissions in hand before more are refused.
    pub max_pending: usize,
    /// How long a shutdown waits for calls in hand.
    pub drain_timeout: Duration,
    /// Where workers announce finished jobs.
    pub replies: Arc<Replies>,
    /// Callbacks: what may be called, and the publisher to their queue.
    pub callbacks: Option<(CallbackConfig, Arc<dyn Publisher>)>,
    /// The origins whose pages may call; `*` for all.
    pub cors_origins: Vec<String>,
    /// What is known of the services behind the gateway. The gateway adds its own.
    pub descriptors: Arc<DescriptorRegistry>,
}

/// A gateway, ready to serve.
pub struct Gateway {
    settings: Settings,
    routes: Routes,
    service: JobsService,
    waiter: Waiter,
    draining: CancellationToken,
    closing: CancellationToken,
}

/// Why a gateway could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The server failed.
    #[error("the server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The contract's descriptors are broken, which is a mistake in the build.
    #[error("the gateway's own descriptors cannot be read: {0}")]
    Descriptors(#[from] DescriptorError),
    /// Files of descriptors have been broken since the configuration was checked.
    #[error("{0}")]
    DescriptorFiles(String),
    /// The same of the certificates.
    #[error("{0}")]
    Tls(String),
    /// An upstream cannot be used on this machine.
    #[error("an upstream cannot be used: {0}")]
    Upstream(#[from] DialError),
}

impl Gateway {
    /// A gateway over its routes and stores.
    #[must_use]
    pub fn new(settings: Settings, routes: Routes, stores: Stores, clock: Clock) -> Self {
        let (draining, closing) = (CancellationToken::new(), CancellationToken::new());
        let methods = Methods::default();
        for route in routes.iter() {
            methods.learn(&route.config.methods.to_string());
        }
        let Stores { results, gathers, submissions, streams, payloads, leases: _ } = stores;
        let gathers = Gathers {
            results: results.clone(),
            gathers,
            payloads: payloads.clone(),
            record_bytes: RECORD_BYTES,
        };
        let lookup = Arc::new(Lookup {
            store: results,
            gathers: gathers.clone(),
            streams,
            payloads: payloads.clone(),
            clock,
            methods,
            max_response_bytes: settings.max_message_bytes.saturating_sub(AROUND_A_RESPONSE),
            job_id_keys: settings.job_id_keys.clone(),
        });
        let replies = settings.replies.clone();
        let waiter = Waiter::new(lookup.clone(), replies.clone(), draining.clone());
        let callbacks = settings
            .callbacks
            .clone()
            .map(|(config, publisher)| Callbacks { config, batcher: Batcher::new(publisher) });
        let door = Arc::new(FrontDoor {
            routes: routes.clone(),
            job_id_keys: settings.job_id_keys.clone(),
            envelope_keys: settings.envelope_keys.clone(),
            submissions,
            gathers,
            replies,
            payloads,
            callbacks,
            clock,
            admission: Admission::new(settings.max_pending),
        });
        let service = JobsService::new(Parts {
            door,
            lookup,
            waiter: waiter.clone(),
            job_id_keys: settings.job_id_keys.clone(),
            draining: draining.clone(),
            closing: closing.clone(),
        });
        Self { settings, routes, service, waiter, draining, closing }
    }

    /// Where finished jobs may be announced to those who wait here.
    #[must_use]
    pub fn waiter(&self) -> Waiter {
        self.waiter.clone()
    }

    /// Fires when the gateway begins to shut down.
    #[must_use]
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Serves until `shutdown`, then finishes what is in hand, for at most the
    /// drain time-out.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn serve(
        self,
        listener: impl Into<Listener>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        let identity = Identity { tenant: self.settings.tenant.as_str().into() };
        let most = self.settings.max_message_bytes;
        let typed = Typed::new(self.service.clone(), most);
        let jobs = JobsServer::new(self.service.clone())
            .max_decoding_message_size(most)
            .max_encoding_message_size(most);
        let operations = OperationsServer::new(self.service.clone())
            .max_decoding_message_size(most)
            .max_encoding_message_size(most);
        let executions = ExecutionsServer::new(self.service)
            .max_decoding_message_size(most)
            .max_encoding_message_size(most);
        let (health, health_service) = tonic_health::server::health_reporter();
        for name in SERVICES {
            health.set_service_status(name, tonic_health::ServingStatus::Serving).await;
        }
        let routes = self.routes;
        let registry = self.settings.descriptors;
        let descriptors = registry.clone();
        // Ended with the gateway.
        let mut learning = JoinSet::new();
        for (name, upstream) in upstreams_of(&routes) {
            learning.spawn(upstreams::keep(registry.clone(), name, upstream));
        }
        let known = routes.clone();
        let routed: Routed = Arc::new(move |method| known.find(method).is_some());
        registry.open(&OWN_DESCRIPTORS, routed)?;
        let (reflection, reflection_alpha) = reflection::services(&registry);
        let own = tonic::service::Routes::new(jobs)
            .add_service(operations)
            .add_service(executions)
            .add_service(health_service)
            .add_service(reflection)
            .add_service(reflection_alpha);
        let protocols = Arc::new(Protocols {
            descriptors: registry,
            cors: Cors::new(&self.settings.cors_origins),
            // In JSON bytes take a third more; the services count the message itself.
            max_request_bytes: most.saturating_mul(2),
        });
        let (server, incoming) = listener.into().open();
        let draining = self.draining.clone();
        let server = server
            // Outermost: what is below it speaks native gRPC only.
            .layer(layer_fn(move |services| Front::new(services, protocols.clone())))
            .layer(layer_fn(move |own| {
                let (routes, identity) = (routes.clone(), identity.clone());
                Native::new(own, typed.clone(), routes, descriptors.clone(), identity)
            }))
            .add_routes(own)
            .serve_with_incoming_shutdown(incoming, draining.clone().cancelled_owned());
        let drain = async {
            shutdown.await;
            tracing::info!("draining");
            // New callers are told to go elsewhere, waiting ones are answered with
            // what there is, and the listener closes.
            let not_serving = tonic_health::ServingStatus::NotServing;
            for name in SERVICES {
                health.set_service_status(name, not_serving).await;
            }
            health.set_service_status("", not_serving).await;
            draining.cancel();
            // Whoever still waits for the answer to a call is told before it is cut off.
            let timeout = self.settings.drain_timeout;
            let last_words = LAST_WORDS.min(timeout / 4);
            tokio::time::sleep(timeout.saturating_sub(last_words)).await;
            self.closing.cancel();
            tokio::time::sleep(last_words).await;
        };
        tokio::select! {
            served = server => served?,
            () = drain => tracing::warn!("the drain time-out ended calls in hand"),
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Runs a gateway over SQS, SNS, DynamoDB and S3 until `shutdown`. At every one of
/// `reloads` it reads the files of descriptors and certificates again.
///
/// # Errors
/// See [`ServeError`].
pub async fn run(
    config: Config,
    reloads: impl Stream<Item = ()> + Send + 'static,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let descriptors = Arc::new(DescriptorRegistry::default());
    descriptors.replace_files(files::load(&config.descriptor_files).map_err(broken_files)?);
    let tls = config.tls.as_ref().map(Tls::load).transpose().map_err(broken_tls)?.map(Arc::new);
    open_files::allow(config.limits.connections);
    let address = config.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { address, source })?;
    let sdk = crate::aws::sdk_config().await;
    let routes = deployment::routes(&config, &sdk)?;
    let stores = deployment::stores(&config.store, &sdk);
    let replies = Arc::new(Replies::new(config.reply_queues));
    let settings = Settings {
        tenant: config.tenant,
        job_id_keys: config.job_id_keys,
        envelope_keys: config.envelope_keys,
        max_message_bytes: config.max_message_bytes,
        max_pending: config.max_pending,
        drain_timeout: config.drain_timeout,
        replies: replies.clone(),
        callbacks: config.callbacks.map(|callbacks| {
            let sqs = aws_sdk_sqs::Client::new(&sdk);
            let publisher = SqsPublisher::new(sqs, callbacks.queue.clone());
            (callbacks, Arc::new(publisher) as Arc<dyn Publisher>)
        }),
        cors_origins: config.cors_origins,
        descriptors: descriptors.clone(),
    };
    let keys = settings.envelope_keys.clone();
    let leases = stores.leases.clone();
    let gateway = Gateway::new(settings, routes, stores, Clock::system());
    let (sqs, waiter) = (aws_sdk_sqs::Client::new(&sdk), gateway.waiter());
    let read = move |url| replies::read(sqs.clone(), url, keys.clone(), waiter.clone());
    let draining = gateway.draining();
    let keep = keeper::keep(replies, leases, Clock::system(), read, draining.clone());
    let keeping = tokio::spawn(keep);
    let told = tls.clone();
    let reloads = reloads.inspect(move |()| told.iter().for_each(|tls| tls.read_again()));
    let reading = tokio::spawn(files::keep(descriptors, config.descriptor_files, reloads));
    let certificates = tls.clone().map(|tls| tokio::spawn(tls.keep()));
    // With port 0 the system chose one: say which.
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!(%address, tls = tls.is_some(), "listening");
    let listener = Listener::from(listener).with_tls(tls).with_limits(config.limits);
    let served = gateway.serve(listener, shutdown).await;
    draining.cancel();
    reading.abort();
    certificates.inspect(|task| task.abort());
    if let Err(error) = keeping.await {
        tracing::error!(%error, "keeping a reply shard failed");
    }
    served
}

/// The gRPC servers behind the routes, each once.
fn upstreams_of(routes: &Routes) -> HashMap<String, Upstream> {
    let direct = routes.iter().filter_map(|route| {
        let target = &route.config.upstream.as_ref()?.target;
        let UpstreamTarget::Grpc { url, .. } = target else { return None };
        Some((url.to_string(), route.upstream.clone()?))
    });
    direct.collect()
}

fn broken_files(mistakes: Vec<FileMistake>) -> ServeError {
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    ServeError::DescriptorFiles(lines.join("\n"))
}

fn broken_tls(mistakes: Vec<TlsMistake>) -> ServeError {
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    ServeError::Tls(lines.join("\n"))
}

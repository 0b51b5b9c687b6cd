//! Building the gateway, serving it, draining it.

use crate::admission::Admission;
use crate::auth::{AuthError, Authenticator};
use crate::callback::Callbacks;
use crate::config::{CallbackConfig, Config, UpstreamTarget};
use crate::deployment;
use crate::descriptors::files::{self, FileMistake};
use crate::descriptors::{DescriptorRegistry, upstreams};
use crate::jobs::{JobsService, Parts};
use crate::listener::Listener;
use crate::listener::tls::{Tls, TlsMistake};
use crate::lookup::Closes;
use crate::lookup::Lookup;
use crate::open_files;
use crate::publish::Publisher;
use crate::publish::batcher::Batcher;
use crate::quota::Quotas;
use crate::replies::{self, Replies, keeper};
use crate::route::Routes;
use crate::stack::Stack;
use crate::submit::FrontDoor;
use crate::upstream::Upstream;
use crate::upstream::grpc::DialError;
use crate::view::Methods;
use crate::waiter::Waiter;
use futures_util::future::join_all;
use futures_util::{Stream, StreamExt};
use queuebridge_proto::Keyring;
use queuebridge_store::{Clock, Gathers, RECORD_BYTES, Seal, Stores};
use queuebridge_web::{DescriptorError, HostPattern, Pool};
use std::collections::{HashMap, HashSet};
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

/// How long the start waits to be told how large messages may be.
const LIMITS_IN: Duration = Duration::from_secs(2);

/// What a gateway is made of, beside its routes and stores.
#[derive(Clone)]
pub struct Settings {
    /// Who calls.
    pub auth: Authenticator,
    /// What one tenant may use.
    pub quotas: Quotas,
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
    /// The names that the gateway answers to where nobody is asked for credentials, beside
    /// addresses and `localhost`.
    pub hosts: Vec<HostPattern>,
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
    /// Nobody could be let in.
    #[error("callers cannot be authenticated: {0}")]
    Auth(#[from] AuthError),
    /// The same of the certificates.
    #[error("{0}")]
    Tls(String),
    /// The Lambda Runtime API cannot be used.
    #[error("the Lambda runtime failed: {0}")]
    Lambda(lambda_runtime::Error),
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
        let Stores { results, gathers, submissions, streams, payloads, encryption, leases: _ } =
            stores;
        let gathers = Gathers {
            results: results.clone(),
            gathers,
            payloads: payloads.clone(),
            record_bytes: RECORD_BYTES,
        };
        let lookup = Arc::new(Lookup {
            store: results,
            gathers: gathers.clone(),
            closes: Closes::default(),
            streams,
            payloads: payloads.clone(),
            clock,
            methods,
            max_response_bytes: settings.max_message_bytes.saturating_sub(AROUND_A_RESPONSE),
            max_message_bytes: settings.max_message_bytes,
            quotas: settings.quotas.clone(),
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
            seal: Seal::new(settings.envelope_keys.clone(), encryption),
            submissions,
            gathers,
            replies,
            payloads,
            callbacks,
            clock,
            admission: Admission::new(settings.max_pending),
            quotas: settings.quotas.clone(),
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

    /// What it answers, whatever host it runs on.
    pub(crate) async fn stack(&self) -> Result<Stack, DescriptorError> {
        self.learn_limits().await;
        Stack::new(&self.settings, &self.routes, self.service.clone())
    }

    /// Asks all queues and topics how large their messages may be. What does not answer in
    /// time is asked again when it refuses a message.
    async fn learn_limits(&self) {
        let all = join_all(self.batchers().map(Batcher::learn_limits));
        if tokio::time::timeout(LIMITS_IN, all).await.is_err() {
            tracing::warn!("some queues and topics have not told yet how large messages may be");
        }
    }

    /// Those of all queues and topics, each once.
    fn batchers(&self) -> impl Iterator<Item = &Batcher> {
        let callbacks = self.service.door().callbacks.iter().map(|callbacks| &callbacks.batcher);
        let routes = self.routes.iter().flat_map(|route| &route.batchers);
        let mut seen = HashSet::new();
        routes.chain(callbacks).filter(move |batcher| seen.insert(batcher.address()))
    }

    /// Begins and ends the shutdown at once: whoever waits is told so.
    pub(crate) fn stop(&self) {
        self.draining.cancel();
        self.closing.cancel();
    }

    /// Returns when nothing is under way any more, also for callers that have gone away.
    pub(crate) async fn settled(&self) {
        self.service.background().wait().await;
        self.waiter.settled().await;
        for batcher in self.batchers() {
            batcher.settled().await;
        }
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
        let stack = self.stack().await?;
        // Ended with the gateway.
        let mut learning = JoinSet::new();
        for (name, upstream) in upstreams_of(&self.routes) {
            learning.spawn(upstreams::keep(self.settings.descriptors.clone(), name, upstream));
        }
        let listener = listener.into();
        let front = stack.front().http1_keep_alive(listener.http1_keep_alive());
        let reachable = listener.address().is_none_or(|address| !address.ip().is_loopback());
        if self.settings.auth.is_open() && reachable {
            tracing::warn!(
                "auth = \"none\", and the port is not on loopback: everybody who can reach it \
                 may submit, read, cancel and delete jobs"
            );
        }
        let (server, incoming) = listener.open();
        let draining = self.draining.clone();
        let server = server
            // The stack has routes of its own; the server's have nothing.
            .layer(layer_fn(move |_| front.clone()))
            .add_routes(tonic::service::Routes::default())
            .serve_with_incoming_shutdown(incoming, draining.clone().cancelled_owned());
        let drain = async {
            shutdown.await;
            tracing::info!("draining");
            // New callers are told to go elsewhere, waiting ones are answered with
            // what there is, and the listener closes.
            stack.not_serving();
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
    descriptors.replace_files(descriptor_files(&config)?);
    let tls = config.tls.as_ref().map(Tls::load).transpose().map_err(broken_tls)?.map(Arc::new);
    open_files::allow(config.limits.connections);
    let address = config.listen;
    let auth = Authenticator::new(&config.auth, &config.tenant)?;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { address, source })?;
    let sdk = crate::aws::sdk_config().await;
    let stores = deployment::stores(&config, &sdk);
    let seal = Seal::new(config.envelope_keys.clone(), stores.encryption.clone());
    let leases = stores.leases.clone();
    let replies = Arc::new(Replies::new(config.reply_queues.clone()));
    let gateway = deployment::gateway(
        &config,
        &sdk,
        stores,
        replies.clone(),
        descriptors.clone(),
        auth.clone(),
    )?;
    let (sqs, waiter) = (aws_sdk_sqs::Client::new(&sdk), gateway.waiter());
    let read = move |url| replies::read(sqs.clone(), url, seal.clone(), waiter.clone());
    let draining = gateway.draining();
    let keep = keeper::keep(replies, leases, Clock::system(), read, draining.clone());
    let keeping = tokio::spawn(keep);
    let reloads = reloads.inspect(move |()| auth.reload());
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

/// The files of descriptors, as they are now.
pub(crate) fn descriptor_files(config: &Config) -> Result<Vec<Pool>, ServeError> {
    files::load(&config.descriptor_files).map_err(broken_files)
}

fn broken_files(mistakes: Vec<FileMistake>) -> ServeError {
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    ServeError::DescriptorFiles(lines.join("\n"))
}

fn broken_tls(mistakes: Vec<TlsMistake>) -> ServeError {
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    ServeError::Tls(lines.join("\n"))
}

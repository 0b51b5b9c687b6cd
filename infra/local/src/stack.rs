//! The embedded stack, and the same stack against an AWS endpoint.

use crate::announce::Announcing;
use crate::branches::{Branches, Lane, Made};
use crate::endpoint::{self, EndpointError, RECEIVE_WAIT};
use crate::loopback::{ConfigError, Loopback, QueueConfig, Redrive};
use crate::outbox::{CALLBACKS, LoopbackOutbox};
use crate::source::LoopbackSource;
use futures_util::future;
use queuebridge_gateway::auth::Authenticator;
use queuebridge_gateway::config::{
    CallConfig, CallbackConfig, Destination, MethodPattern, QuotaConfig, RouteConfig,
};
use queuebridge_gateway::descriptors::DescriptorRegistry;
use queuebridge_gateway::publish::Publisher;
use queuebridge_gateway::publish::batcher::Batcher;
use queuebridge_gateway::publish::sqs::SqsPublisher;
use queuebridge_gateway::quota::Quotas;
use queuebridge_gateway::replies::Replies;
use queuebridge_gateway::route::Routes as GatewayRoutes;
use queuebridge_gateway::server::{Gateway, ServeError, Settings};
use queuebridge_proto::Keyring;
use queuebridge_store::memory::{MemoryPayloadStore, MemoryResultStore};
use queuebridge_store::{Clock, Stores};
use queuebridge_web::{DescriptorError, Descriptors, HostPattern, pool};
use queuebridge_worker::callbacks::{Networks, Sender, SenderKeys, SenderSettings};
use queuebridge_worker::host::outbox::{Queues, SqsOutbox};
use queuebridge_worker::host::poller::{self, PollerSettings};
use queuebridge_worker::host::source::Source;
use queuebridge_worker::host::sqs::SqsSource;
use queuebridge_worker::{Branch, JobStores, Outbox, Role, Runner, RunnerSettings};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// How often a message is received before it is dead-lettered. Receives are no
/// attempts, so this is a high backstop.
const MAX_RECEIVE_COUNT: u32 = 50;
/// Callbacks that are made at once.
const CALLBACKS_AT_ONCE: usize = 16;
/// How long dead letters and parked messages are kept: as long as SQS can.
const KEPT: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A stack in this process. The fields are its settings; [`Stack::default`] gives
/// the embedded one on `127.0.0.1:50051`.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Where the gateway listens.
    pub listen: SocketAddr,
    /// The names that it answers to, beside addresses and `localhost`: nobody is asked for
    /// credentials, and a page could point another name here. Default: none.
    pub hosts: Vec<HostPattern>,
    /// An SQS, DynamoDB and S3 endpoint to use instead of memory; what is needed
    /// there is created.
    pub endpoint: Option<String>,
    /// What names at the endpoint begin with: queues, topic, table and bucket. Stacks of
    /// different services there need different names. Default: `queuebridge`.
    pub name: String,
    /// Jobs that run at once.
    pub concurrency: usize,
    /// How long a shutdown waits for what is in hand.
    pub drain_timeout: Duration,
    /// How long the queue keeps a message.
    pub queue_retention: Duration,
    /// The work expiry of a job that names none.
    pub default_expiry: Duration,
    /// The result retention of a job that names none.
    pub default_retention: Duration,
    /// How long a claim holds without being renewed.
    pub lease: Duration,
    /// Whether finished jobs are announced to those who wait; otherwise they poll
    /// the store, as at a gateway without a reply shard. Default: yes.
    pub announce: bool,
    /// Serialized `FileDescriptorSet`s of the services: with them answers say what
    /// types they have.
    pub descriptor_sets: Vec<&'static [u8]>,
    /// How calls are answered that come as they are, and not as submissions.
    pub calls: CallConfig,
    /// Methods whose jobs go to several branches; all others go to one worker.
    pub branches: Vec<Branches>,
}

impl Default for Stack {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 50051)),
            hosts: Vec::new(),
            endpoint: None,
            name: "queuebridge".to_owned(),
            concurrency: 256,
            drain_timeout: Duration::from_secs(30),
            queue_retention: Duration::from_secs(4 * 24 * 60 * 60),
            default_expiry: Duration::from_secs(60 * 60),
            default_retention: Duration::from_secs(60 * 60),
            lease: Duration::from_secs(30),
            announce: true,
            descriptor_sets: Vec::new(),
            calls: CallConfig::default(),
            branches: Vec::new(),
        }
    }
}

/// Why a stack could not run.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The gateway failed, or its address is taken.
    #[error(transparent)]
    Gateway(#[from] ServeError),
    /// A setting of the queue is out of range.
    #[error("the loopback queue cannot be made: {0}")]
    Queue(#[from] ConfigError),
    /// The system's certificates cannot be read.
    #[error("the certificates cannot be read: {0}")]
    Certificates(std::io::Error),
    /// The given descriptors cannot be read.
    #[error(transparent)]
    Descriptors(#[from] DescriptorError),
    /// The endpoint cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// Serves `routes` through the embedded bridge on `127.0.0.1:50051` until SIGTERM
/// or SIGINT.
///
/// # Errors
/// See [`LocalError`].
pub async fn serve(routes: Routes) -> Result<(), LocalError> {
    Stack::default().serve(routes, queuebridge_worker::shutdown_signal()).await
}

impl Stack {
    /// Serves `routes` until `shutdown`.
    ///
    /// # Errors
    /// See [`LocalError`].
    pub async fn serve(
        self,
        routes: Routes,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), LocalError> {
        let address = self.listen;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| ServeError::Listen { address, source })?;
        self.serve_on(listener, routes, shutdown).await
    }

    /// [`Stack::serve`] on a listener that is open already.
    ///
    /// # Errors
    /// See [`LocalError`].
    pub async fn serve_on(
        self,
        listener: TcpListener,
        routes: Routes,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), LocalError> {
        match self.endpoint.clone() {
            None => self.in_memory(listener, routes, shutdown).await,
            Some(url) => self.at_endpoint(&url, listener, routes, shutdown).await,
        }
    }

    async fn in_memory(
        self,
        listener: TcpListener,
        routes: Routes,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), LocalError> {
        let clock = Clock::system();
        let kept = |name| QueueConfig { retention: KEPT, ..QueueConfig::standard(name, clock) };
        let dead_letter = Loopback::new(kept("jobs-dead"))?;
        let parking = Loopback::new(kept("jobs-parked"))?;
        let callbacks = Loopback::new(kept(CALLBACKS))?;
        let queue = Loopback::new(QueueConfig {
            visibility_timeout: self.lease,
            retention: self.queue_retention,
            redrive: Some(Redrive {
                max_receive_count: MAX_RECEIVE_COUNT,
                dead_letter: dead_letter.clone(),
            }),
            ..QueueConfig::standard("jobs", clock)
        })?;
        let outbox = |source: &Arc<Loopback>| LoopbackOutbox {
            source: source.clone(),
            parking: parking.clone(),
            callbacks: callbacks.clone(),
        };
        let branch_queue = |name: &str| QueueConfig {
            visibility_timeout: self.lease,
            retention: self.queue_retention,
            ..QueueConfig::standard(name, clock)
        };
        let made = self.branches.iter().map(|branches| {
            let concurrency = self.concurrency;
            branches.in_memory(branch_queue, outbox, MAX_RECEIVE_COUNT, concurrency, clock)
        });
        let made = made.collect::<Result<Vec<_>, _>>()?;
        let main: Arc<dyn Outbox> = Arc::new(outbox(&queue));
        let parts = Parts {
            publisher: queue.clone(),
            destination: Destination::Queue("loopback:jobs".to_owned()),
            callback_queue: ("loopback:callbacks".to_owned(), callbacks.clone()),
            stores: Stores::new(
                Arc::new(MemoryResultStore::new(self.queue_retention)),
                Some(Arc::new(MemoryPayloadStore::new(
                    self.queue_retention + self.default_retention,
                    clock,
                ))),
            ),
            settings: RunnerSettings {
                // Memory has no limit per record.
                inline_response_bytes: usize::MAX,
                record_bytes: usize::MAX,
                ..RunnerSettings::default()
            },
            keys: Keyring::single(&random_key()),
        };
        let sources = [queue, dead_letter, callbacks.clone()].map(LoopbackSource);
        self.run(parts, self.lanes(sources, &main), made, listener, routes, shutdown).await
    }

    async fn at_endpoint(
        self,
        url: &str,
        listener: TcpListener,
        routes: Routes,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), LocalError> {
        let made = endpoint::prepare(url, &self.name, self.lease, MAX_RECEIVE_COUNT).await?;
        let outbox = Arc::new(SqsOutbox::new(
            made.sqs.clone(),
            Queues {
                parking: Some(made.parking_url.clone()),
                callbacks: Some(made.callback_url.clone()),
            },
            made.keys.clone(),
        ));
        let mut branches = Vec::new();
        for each in &self.branches {
            branches.push(each.at_endpoint(&made, &outbox, self.concurrency).await?);
        }
        let parts = Parts {
            publisher: Arc::new(SqsPublisher::new(made.sqs.clone(), made.queue_url.clone())),
            destination: Destination::Queue(made.queue_url.clone()),
            callback_queue: (
                made.callback_url.clone(),
                Arc::new(SqsPublisher::new(made.sqs.clone(), made.callback_url.clone())),
            ),
            stores: made.stores,
            settings: RunnerSettings::default(),
            keys: made.keys,
        };
        let sources = [made.queue_url, made.dead_letter_url, made.callback_url];
        let sources = sources.map(|url| SqsSource::new(made.sqs.clone(), url, RECEIVE_WAIT));
        let main: Arc<dyn Outbox> = outbox;
        self.run(parts, self.lanes(sources, &main), branches, listener, routes, shutdown).await
    }

    /// What works on the queues of the route for all.
    fn lanes<S>(&self, sources: [S; 3], outbox: &Arc<dyn Outbox>) -> Vec<Lane<S>> {
        let roles = [
            (Role::Jobs, self.concurrency),
            (Role::DeadLetters, 1),
            (Role::Callbacks, CALLBACKS_AT_ONCE),
        ];
        let lane = |(source, (role, concurrency))| Lane {
            source,
            role,
            branch: Branch::Unknown,
            outbox: outbox.clone(),
            concurrency,
        };
        sources.into_iter().zip(roles).map(lane).collect()
    }

    async fn run<S: Source>(
        &self,
        parts: Parts,
        mut lanes: Vec<Lane<S>>,
        branches: Vec<Made<S>>,
        listener: TcpListener,
        routes: Routes,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), LocalError> {
        let clock = Clock::system();
        let route = RouteConfig {
            default_expiry: self.default_expiry,
            default_retention: self.default_retention,
            calls: self.calls.clone(),
            max_expiry: self.queue_retention.max(self.default_expiry),
            ..RouteConfig::new(MethodPattern::All, parts.destination)
        };
        let mut gateway_routes = GatewayRoutes::new();
        for (made, of) in branches.into_iter().zip(&self.branches) {
            let config = RouteConfig {
                methods: of.methods.clone(),
                destination: made.destination,
                fan_out: Some(of.fan_out.clone()),
                ..route.clone()
            };
            gateway_routes.push(
                config,
                made.publishers.into_iter().map(Batcher::new).collect(),
                None,
            );
            lanes.extend(made.lanes);
        }
        let gateway_routes = gateway_routes.with(route, parts.publisher);
        let replies = if self.announce { Replies::in_process() } else { Replies::default() };
        let (queue, callback_publisher) = parts.callback_queue;
        // Whoever tries callbacks out has receivers on this machine.
        let (allow, targets, tenants) = (Vec::new(), Vec::new(), BTreeMap::new());
        let callback_config = CallbackConfig { queue, allow, allow_http: true, targets, tenants };
        let here = ["127.0.0.0/8", "::1/128"].iter().filter_map(|net| net.parse().ok());
        let networks = Networks::public_and(here.collect());
        let signing_keys = SenderKeys::default();
        let sender = SenderSettings { signing_keys, networks, result_url: None };
        let sender = Sender::new(sender, None).map_err(LocalError::Certificates)?;
        let known = pool(self.descriptor_sets.iter().copied())?;
        known.left_out().iter().for_each(|problem| tracing::warn!("descriptors: {problem}"));
        let descriptors = Descriptors::of([&known]);
        let registry = Arc::new(DescriptorRegistry::default());
        registry.replace_files(vec![known]);
        let gateway = Gateway::new(
            Settings {
                auth: Authenticator::open("default"),
                quotas: Quotas::new(&QuotaConfig::default()),
                job_id_keys: parts.keys.clone(),
                envelope_keys: parts.keys.clone(),
                max_message_bytes: 4 * 1024 * 1024,
                max_pending: 10_000,
                drain_timeout: self.drain_timeout,
                replies: Arc::new(replies),
                callbacks: Some((callback_config, callback_publisher)),
                hosts: self.hosts.clone(),
                cors_origins: Vec::new(),
                descriptors: registry,
            },
            gateway_routes,
            parts.stores.clone(),
            clock,
        );
        let settings = RunnerSettings {
            lease: self.lease,
            concurrency: self.concurrency,
            descriptors: Some(Arc::new(descriptors)),
            callbacks: Some(Arc::new(sender)),
            ..parts.settings
        };
        // The gateway first: what it accepts while draining is still run, or stays
        // in a queue that outlives the process.
        let stopped = CancellationToken::new();
        let work = |lane: Lane<S>| {
            let Lane { source, role, branch, outbox, concurrency } = lane;
            let settings = RunnerSettings { role, branch, ..settings.clone() };
            let Stores { results, gathers, streams, payloads, .. } = parts.stores.clone();
            let outbox = Arc::new(Announcing { outbox, waiter: gateway.waiter() });
            let (stores, keys) = (JobStores { results, gathers, streams }, parts.keys.clone());
            let runner =
                Runner::new(routes.clone(), stores, payloads, outbox, keys, clock, settings);
            let settings = PollerSettings { concurrency, drain_timeout: self.drain_timeout };
            poller::run(runner, source, settings, stopped.clone().cancelled_owned())
        };
        let workers: Vec<_> = lanes.into_iter().map(work).collect();
        let workers = tokio::spawn(future::join_all(workers));
        let served = gateway.serve(listener, shutdown).await;
        stopped.cancel();
        if let Err(error) = workers.await {
            tracing::error!(%error, "the worker failed");
        }
        Ok(served?)
    }
}

/// What differs between memory and an endpoint.
struct Parts {
    publisher: Arc<dyn Publisher>,
    destination: Destination,
    /// Its name, and the way into it.
    callback_queue: (String, Arc<dyn Publisher>),
    stores: Stores,
    settings: RunnerSettings,
    /// For job ids and envelopes alike: both programs are this process.
    keys: Keyring,
}

fn random_key() -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    key[16..].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    key
}

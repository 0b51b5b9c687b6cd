//! Gateways over the same stores and the same queue, each on its own port, and a worker.

use queuebridge_gateway::auth::Authenticator;
use queuebridge_gateway::config::{Destination, MethodPattern, RouteConfig};
use queuebridge_gateway::descriptors::DescriptorRegistry;
use queuebridge_gateway::publish::Publisher;
use queuebridge_gateway::quota::Quotas;
use queuebridge_gateway::replies::Replies;
use queuebridge_gateway::route::Routes;
use queuebridge_gateway::server::{Gateway, ServeError, Settings};
use queuebridge_local::loopback::{Loopback, QueueConfig};
use queuebridge_local::{LoopbackOutbox, LoopbackSource};
use queuebridge_proto::Keyring;
use queuebridge_proto::v1::jobs_client::JobsClient;
use queuebridge_proto::v1::{GetResultRequest, Job, State, SubmitRequest};
use queuebridge_store::memory::MemoryResultStore;
use queuebridge_store::{Clock, Stores};
use queuebridge_worker::host::poller::{self, PollerSettings};
use queuebridge_worker::{Runner, RunnerSettings};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tonic::transport::{Channel, Endpoint};

const DAY: Duration = Duration::from_secs(24 * 3600);
pub(super) const ECHO: &str = "/queuebridge.demo.v1.Probe/Echo";

pub(super) struct Bridge {
    clock: Clock,
    store: Arc<MemoryResultStore>,
    pub(super) queue: Arc<Loopback>,
    workers: JoinSet<()>,
}

/// The settings in which gateways differ.
pub(super) struct Setup {
    pub(super) tenant: &'static str,
    pub(super) job_id_keys: Keyring,
    pub(super) max_pending: usize,
    pub(super) route: RouteConfig,
    /// Stands in front of the queue.
    pub(super) publisher: Option<Arc<dyn Publisher>>,
}

impl Default for Setup {
    fn default() -> Self {
        let route = RouteConfig::new(MethodPattern::All, Destination::Queue("q".into()));
        let job_id_keys = Keyring::single(&[1; 32]);
        Self { tenant: "default", job_id_keys, max_pending: 10_000, route, publisher: None }
    }
}

/// A gateway that serves.
pub(super) struct Serving {
    pub(super) channel: Channel,
    pub(super) jobs: JobsClient<Channel>,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.served.abort();
    }
}

impl Bridge {
    pub(super) fn new() -> Self {
        let clock = Clock::system();
        let queue = Loopback::new(QueueConfig::standard("jobs", clock)).unwrap();
        let store = Arc::new(MemoryResultStore::new(DAY));
        Self { clock, store, queue, workers: JoinSet::new() }
    }

    pub(super) async fn gateway(&self, setup: Setup) -> Serving {
        let settings = Settings {
            auth: Authenticator::open(setup.tenant),
            quotas: Quotas::default(),
            job_id_keys: setup.job_id_keys,
            envelope_keys: envelope_keys(),
            max_message_bytes: 4 << 20,
            max_pending: setup.max_pending,
            drain_timeout: DAY,
            replies: Arc::new(Replies::default()),
            callbacks: None,
            hosts: Vec::new(),
            cors_origins: Vec::new(),
            descriptors: Arc::new(DescriptorRegistry::default()),
        };
        let publisher = setup.publisher.unwrap_or_else(|| self.queue.clone());
        let routes = Routes::new().with(setup.route, publisher);
        let stores = Stores::new(self.store.clone(), None);
        let gateway = Gateway::new(settings, routes, stores, self.clock);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let served = tokio::spawn(gateway.serve(listener, std::future::pending()));
        let channel = Endpoint::from_shared(endpoint).unwrap().connect_lazy();
        Serving { jobs: JobsClient::new(channel.clone()), channel, served }
    }

    /// Starts a worker, which ends with the bridge.
    pub(super) fn work(&mut self) {
        let queue = self.queue.clone();
        let outbox =
            LoopbackOutbox { source: queue.clone(), parking: queue.clone(), callbacks: queue };
        let runner = Runner::new(
            queuebridge_demo::routes(),
            self.store.clone(),
            None,
            Arc::new(outbox),
            envelope_keys(),
            self.clock,
            RunnerSettings::default(),
        );
        let settings = PollerSettings { concurrency: 4, drain_timeout: DAY };
        let source = LoopbackSource(self.queue.clone());
        self.workers.spawn(poller::run(runner, source, settings, std::future::pending()));
    }
}

impl Serving {
    pub(super) async fn submitted(&self, request: SubmitRequest) -> String {
        self.jobs.clone().submit(request).await.unwrap().into_inner().id
    }

    /// The job once it is finished.
    pub(super) async fn finished(&self, id: &str) -> Job {
        let wait = Some(prost_types::Duration { seconds: 30, nanos: 0 });
        loop {
            let request = GetResultRequest { id: id.to_owned(), wait };
            let job = self.jobs.clone().get_result(request).await.unwrap().into_inner();
            if !matches!(job.state(), State::Accepted | State::Running) {
                return job;
            }
        }
    }
}

pub(super) fn echo() -> SubmitRequest {
    SubmitRequest { method: ECHO.into(), ..SubmitRequest::default() }
}

/// The id with another character in its middle.
pub(super) fn forged(id: &str) -> String {
    let other = if &id[40..41] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &id[..40], &id[41..])
}

fn envelope_keys() -> Keyring {
    Keyring::single(&[9; 32])
}

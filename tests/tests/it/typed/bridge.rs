//! The way of a direct call in simulated time: gateway, queue, worker, and everything
//! between them as unreliable as a test wants.

use super::world::{RUN, Script};
use crate::chaos::{Random, Unreliable};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use queuebridge_gateway::admission::Admission;
use queuebridge_gateway::config::{CallConfig, Destination, MethodPattern, Mode, RouteConfig};
use queuebridge_gateway::identity::Identity;
use queuebridge_gateway::jobs::{JobsService, Parts};
use queuebridge_gateway::lookup::Closes;
use queuebridge_gateway::lookup::{Found, Lookup};
use queuebridge_gateway::publish::{Limits, Message as QueueMessage, PublishError, Publisher};
use queuebridge_gateway::quota::Quotas;
use queuebridge_gateway::replies::Replies;
use queuebridge_gateway::route::Routes;
use queuebridge_gateway::submit::FrontDoor;
use queuebridge_gateway::typed::Typed;
use queuebridge_gateway::view::Methods;
use queuebridge_gateway::waiter::Waiter;
use queuebridge_local::loopback::{Loopback, QueueConfig};
use queuebridge_local::{LoopbackOutbox, LoopbackSource};
use queuebridge_proto::raw::RawCodec;
use queuebridge_proto::v1::{Announcement, State};
use queuebridge_proto::{JobId, Keyring, UnixMillis};
use queuebridge_store::memory::{MemoryPayloadStore, MemoryResultStore};
use queuebridge_store::testing::Faulty;
use queuebridge_store::{Clock, Gathers};
use queuebridge_worker::host::poller::{self, PollerSettings};
use queuebridge_worker::outbox::{Outbox, OutboxError, Outgoing};
use queuebridge_worker::{Runner, RunnerSettings};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::{Request, Response, Status, Streaming};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// A claim holds so long, and a cancellation is noticed in a third of it.
pub(crate) const LEASE: Duration = Duration::from_secs(9);

/// What a bridge is like.
pub(crate) struct Plan {
    pub(crate) calls: CallConfig,
    pub(crate) settings: RunnerSettings,
    /// With a seed the queue and the announcements are unreliable.
    pub(crate) seed: Option<u64>,
    /// Whether there is a payload store.
    pub(crate) payloads: bool,
    /// How long the queue takes to take a job.
    pub(crate) queue_takes: Duration,
    /// What a route allows.
    pub(crate) max_request_bytes: Option<usize>,
}

impl Default for Plan {
    fn default() -> Self {
        let settings = RunnerSettings { lease: LEASE, ..RunnerSettings::default() };
        let calls = CallConfig::default();
        let queue_takes = Duration::ZERO;
        Self { calls, settings, seed: None, payloads: true, queue_takes, max_request_bytes: None }
    }
}

pub(crate) struct Bridge {
    pub(crate) clock: Clock,
    pub(crate) store: Arc<Faulty<MemoryResultStore>>,
    pub(crate) payloads: Arc<Faulty<MemoryPayloadStore>>,
    pub(crate) queue: Arc<Loopback>,
    pub(crate) lookup: Arc<Lookup>,
    pub(crate) waiter: Waiter,
    pub(crate) jobs: JobsService,
    pub(crate) closing: CancellationToken,
    typed: Typed,
    runner: Arc<Runner>,
    random: Random,
    script: Script,
    calls: CallConfig,
}

impl Bridge {
    pub(crate) fn new(script: Script, plan: Plan) -> Self {
        let clock = Clock::simulated(UnixMillis(1_700_000_000_000));
        let store = Arc::new(Faulty::new(Arc::new(MemoryResultStore::new(DAY))));
        Self::over(script, plan, clock, store)
    }

    fn over(
        script: Script,
        plan: Plan,
        clock: Clock,
        store: Arc<Faulty<MemoryResultStore>>,
    ) -> Self {
        let payloads = Arc::new(Faulty::new(Arc::new(MemoryPayloadStore::new(DAY, clock))));
        let kept = plan.payloads.then(|| payloads.clone() as Arc<_>);
        let queue = |name| {
            let config = QueueConfig::standard(name, clock);
            Loopback::new(QueueConfig { retention: DAY, visibility_timeout: LEASE, ..config })
        };
        let (jobs, parking) = (queue("jobs").unwrap(), queue("parked").unwrap());
        let random = |salt| Random::new(plan.seed.unwrap_or(0).wrapping_mul(31) + salt);
        let publisher: Arc<dyn Publisher> = match plan.seed {
            None => Arc::new(Slow(jobs.clone(), plan.queue_takes)),
            Some(_) => Arc::new(Unreliable { queue: jobs.clone(), random: random(1) }),
        };
        let route = RouteConfig {
            default_expiry: Duration::from_secs(600),
            default_retention: DAY,
            max_attempts: 6,
            calls: plan.calls.clone(),
            max_request_bytes: plan.max_request_bytes,
            ..RouteConfig::new(MethodPattern::All, Destination::Queue("q".into()))
        };
        let (keys, replies) = (Keyring::single(&[1; 32]), Arc::new(Replies::in_process()));
        let lookup = Arc::new(Lookup {
            store: store.clone(),
            gathers: Gathers::new(store.clone(), None),
            closes: Closes::default(),
            streams: store.clone(),
            quotas: Quotas::default(),
            job_id_keys: keys.clone(),
            payloads: kept.clone(),
            clock,
            methods: Methods::default(),
            max_response_bytes: 4 << 20,
            max_message_bytes: 4 << 20,
        });
        let (draining, closing) = (CancellationToken::new(), CancellationToken::new());
        let waiter = Waiter::new(lookup.clone(), replies.clone(), draining.clone());
        let door = FrontDoor {
            routes: Routes::new().with(route, publisher),
            job_id_keys: keys.clone(),
            seal: keys.clone().into(),
            submissions: store.clone(),
            gathers: Gathers::new(store.clone(), None),
            replies,
            payloads: kept.clone(),
            callbacks: None,
            clock,
            admission: Admission::new(1000),
            quotas: Quotas::default(),
        };
        let service = JobsService::new(Parts {
            door: Arc::new(door),
            lookup: lookup.clone(),
            waiter: waiter.clone(),
            job_id_keys: keys.clone(),
            draining,
            closing: closing.clone(),
        });
        let inner =
            LoopbackOutbox { source: jobs.clone(), parking: parking.clone(), callbacks: parking };
        let announcing =
            Announcing { inner, waiter: waiter.clone(), random: plan.seed.map(|_| random(2)) };
        let routes = tonic::service::Routes::new(script.clone());
        let outbox = Arc::new(announcing);
        let runner = Runner::new(routes, store.clone(), kept, outbox, keys, clock, plan.settings);
        Self {
            clock,
            store,
            payloads,
            queue: jobs,
            lookup,
            waiter,
            typed: Typed::new(service.clone(), 4 << 20),
            jobs: service,
            closing,
            runner,
            random: random(3),
            script,
            calls: plan.calls,
        }
    }

    /// A worker that never fails.
    pub(crate) async fn worker(&self) {
        poller::run(self.runner.clone(), self.source(), settings(), std::future::pending()).await;
    }

    /// Workers come, and are killed in the middle of what they do.
    pub(crate) async fn mortal_workers(&self) {
        loop {
            let life = Duration::from_millis(2_000 + self.random.below(60_000));
            let _ = timeout(life, self.worker()).await;
        }
    }

    fn source(&self) -> LoopbackSource {
        LoopbackSource(self.queue.clone())
    }

    /// Calls the script, as a client in this process would.
    pub(crate) async fn call(
        &self,
        request: Request<impl Stream<Item = Bytes> + Send + 'static>,
    ) -> Result<Response<Streaming<Bytes>>, Status> {
        let typed = self.typed.clone();
        let service = tower::service_fn(move |mut request: http::Request<Body>| {
            let typed = typed.clone();
            request.extensions_mut().insert(Identity::trusted("t"));
            async move { Ok::<_, Infallible>(typed.call(request).await) }
        });
        let mut grpc = Grpc::new(service);
        grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static(RUN);
        grpc.streaming(request, path, RawCodec).await
    }

    /// A gateway over the same stores and queue, with a clock that is behind.
    pub(crate) fn behind(&self, by: Duration) -> Self {
        let clock = Clock::simulated(UnixMillis(
            self.clock.now().0 - u64::try_from(by.as_millis()).unwrap(),
        ));
        let store = self.store.clone();
        Self::over(
            self.script.clone(),
            Plan { calls: self.calls.clone(), ..Plan::default() },
            clock,
            store,
        )
    }

    /// A request to the service of jobs.
    pub(crate) fn asking<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(Identity::trusted("t"));
        request
    }

    /// Does what `story` says while a worker works.
    pub(crate) async fn during<T>(&self, story: impl Future<Output = T>) -> T {
        tokio::select! {
            told = story => told,
            () = self.worker() => unreachable!(),
        }
    }
}

/// A reliable bridge whose calls have these modes.
pub(crate) fn modes(modes: &[Mode]) -> Plan {
    let calls = CallConfig {
        modes: modes.to_vec(),
        budget: Duration::from_secs(20),
        ..CallConfig::default()
    };
    Plan { calls, ..Plan::default() }
}

/// A request of one message.
pub(crate) fn one() -> Request<impl futures_util::Stream<Item = Bytes> + Send + 'static> {
    Request::new(stream::iter([Bytes::from_static(b"request")]))
}

/// Sends two messages, the second when it is asked to.
pub(crate) fn open() -> (mpsc::Sender<Bytes>, Request<ReceiverStream<Bytes>>) {
    let (send, requests) = mpsc::channel(4);
    send.try_send(Bytes::from_static(b"first")).unwrap();
    (send, Request::new(ReceiverStream::new(requests)))
}

/// How a job stands.
pub(crate) async fn found(bridge: &Bridge, id: &JobId) -> State {
    match bridge.lookup.find(id).await.unwrap() {
        Found::Finished(record) | Found::Underway(record) => record.state,
        other => panic!("{other:?}"),
    }
}

fn settings() -> PollerSettings {
    PollerSettings { concurrency: 64, drain_timeout: DAY }
}

/// A queue that takes its time.
struct Slow(Arc<Loopback>, Duration);

#[async_trait]
impl Publisher for Slow {
    fn limits(&self) -> Limits {
        self.0.limits()
    }

    async fn publish(&self, batch: &[QueueMessage]) -> Vec<Result<(), PublishError>> {
        sleep(self.1).await;
        self.0.publish(batch).await
    }
}

/// Announcements that are lost, late, and there twice.
struct Announcing {
    inner: LoopbackOutbox,
    waiter: Waiter,
    random: Option<Random>,
}

#[async_trait]
impl Outbox for Announcing {
    async fn announce(&self, _shard: &str, jobs: Vec<Announcement>) -> Result<(), OutboxError> {
        for job in jobs {
            let (lot, late) =
                self.random.as_ref().map_or((9, 0), |dice| (dice.below(6), dice.below(4_000)));
            if lot == 0 {
                continue;
            }
            if lot <= 2 {
                let (waiter, job) = (self.waiter.clone(), job.clone());
                tokio::spawn(async move {
                    sleep(Duration::from_millis(late)).await;
                    waiter.announced(job);
                });
            }
            if lot >= 2 {
                self.waiter.announced(job);
            }
        }
        Ok(())
    }

    async fn resend(
        &self,
        source: &str,
        message: Outgoing,
        delay: Duration,
    ) -> Result<(), OutboxError> {
        self.inner.resend(source, message, delay).await
    }

    fn parks(&self) -> bool {
        true
    }

    async fn park(&self, message: Outgoing) -> Result<(), OutboxError> {
        self.inner.park(message).await
    }

    async fn call_back(&self, message: Outgoing) -> Result<(), OutboxError> {
        self.inner.call_back(message).await
    }
}

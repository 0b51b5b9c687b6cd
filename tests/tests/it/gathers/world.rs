//! A gateway, the queues of its branches, and their workers, step by step.

use super::scripted::Script;
use crate::fixture::START;
use queuebridge_gateway::admission::Admission;
use queuebridge_gateway::callback::Callbacks;
use queuebridge_gateway::config::{
    BranchConfig, CallbackConfig, Destination, FanOut, MethodPattern, RouteConfig,
};
use queuebridge_gateway::identity::Identity;
use queuebridge_gateway::jobs::{JobsService, Parts};
use queuebridge_gateway::lookup::Closes;
use queuebridge_gateway::lookup::Lookup;
use queuebridge_gateway::publish::Publisher;
use queuebridge_gateway::publish::batcher::Batcher;
use queuebridge_gateway::quota::Quotas;
use queuebridge_gateway::replies::Replies;
use queuebridge_gateway::route::Routes;
use queuebridge_gateway::submit::FrontDoor;
use queuebridge_gateway::view::Methods;
use queuebridge_gateway::waiter::Waiter;
use queuebridge_local::LoopbackOutbox;
use queuebridge_local::loopback::{
    Condition, FilterPolicy, Loopback, LoopbackTopic, QueueConfig, Received, Subscription,
    TopicConfig,
};
use queuebridge_proto::Keyring;
use queuebridge_proto::callback;
use queuebridge_proto::v1::callback_message::Kind;
use queuebridge_proto::v1::jobs_server::Jobs;
use queuebridge_proto::v1::{
    Callback, CancelRequest, DeleteRequest, GatherRule, GetResultRequest, Job, SubmitRequest,
    callback::Target,
};
use queuebridge_store::memory::{MemoryPayloadStore, MemoryResultStore};
use queuebridge_store::testing::Faulty;
use queuebridge_store::{Clock, Gathers, PayloadStore};
use queuebridge_worker::{Branch, Delivery, Outbox, Role, Runner, RunnerSettings, Verdict, batch};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

pub(crate) const METHOD: &str = "/test.Branches/Call";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How messages reach the branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Topic,
    Queues,
}

pub(crate) struct Station {
    pub(crate) name: String,
    pub(crate) queue: Arc<Loopback>,
    pub(crate) dead: Arc<Loopback>,
    pub(crate) runner: Arc<Runner>,
    pub(crate) undertaker: Arc<Runner>,
}

pub(crate) struct World {
    pub(crate) script: Script,
    pub(crate) keys: Keyring,
    pub(crate) clock: Clock,
    pub(crate) store: Arc<Faulty<MemoryResultStore>>,
    pub(crate) payloads: Arc<MemoryPayloadStore>,
    pub(crate) parking: Arc<Loopback>,
    pub(crate) callbacks: Arc<Loopback>,
    pub(crate) topic: Arc<LoopbackTopic>,
    pub(crate) stations: Vec<Station>,
    pub(crate) service: JobsService,
}

type Between = Box<dyn Fn(usize, Arc<dyn Publisher>) -> Arc<dyn Publisher>>;

/// What a test changes of a world before it begins.
pub(crate) struct Plan {
    pub(crate) way: Way,
    pub(crate) branches: Vec<BranchConfig>,
    pub(crate) rule: GatherRule,
    pub(crate) route: fn(&mut RouteConfig),
    pub(crate) fifo: bool,
    pub(crate) payloads: bool,
    /// The queue of this branch takes small messages only.
    pub(crate) tight: Option<&'static str>,
    pub(crate) quotas: Quotas,
    /// Stands between the gateway and its queues or topic.
    pub(crate) between: Between,
    /// Stands between the workers and the queues that they send to.
    pub(crate) outbox: Box<dyn Fn(LoopbackOutbox) -> Arc<dyn Outbox>>,
}

impl Plan {
    pub(crate) fn new(way: Way, branches: &[&str], rule: GatherRule) -> Self {
        let queue = (way == Way::Queues).then_some("q");
        Self {
            way,
            branches: branches.iter().map(|name| BranchConfig::new(name, queue)).collect(),
            rule,
            route: |_| (),
            fifo: false,
            payloads: true,
            tight: None,
            quotas: Quotas::default(),
            outbox: Box::new(|outbox| Arc::new(outbox)),
            between: Box::new(|_, publisher| publisher),
        }
    }

    pub(crate) fn build(self) -> World {
        World::new(self)
    }
}

impl World {
    fn new(plan: Plan) -> Self {
        let clock = Clock::simulated(START);
        let script = Script::default();
        let keys = Keyring::single(&[1; 32]);
        let store = Arc::new(Faulty::new(Arc::new(MemoryResultStore::new(DAY * 10))));
        let payloads = Arc::new(MemoryPayloadStore::new(DAY * 10, clock));
        let kept: Option<Arc<dyn PayloadStore>> =
            if plan.payloads { Some(payloads.clone()) } else { None };
        let queue = |name: &str| {
            let config = if plan.fifo {
                QueueConfig::fifo(&format!("{name}.fifo"), clock)
            } else {
                QueueConfig::standard(name, clock)
            };
            Loopback::new(config).unwrap()
        };
        let standard = |name| Loopback::new(QueueConfig::standard(name, clock)).unwrap();
        let (parking, callbacks) = (standard("parked"), standard("callbacks"));
        let topic = LoopbackTopic::new(TopicConfig {
            fifo: plan.fifo,
            ..TopicConfig::standard("branches", clock)
        });
        let stations: Vec<Station> = plan
            .branches
            .iter()
            .map(|BranchConfig { name, .. }| {
                let (mut queue, dead) = (queue(name), queue(&format!("{name}-dead")));
                if plan.tight == Some(name) {
                    let maximum_message_bytes = 1024;
                    let all = QueueConfig::standard(name, clock);
                    queue = Loopback::new(QueueConfig { maximum_message_bytes, ..all }).unwrap();
                }
                let filter = vec![Condition::Exactly(name.clone())];
                let filter = FilterPolicy::new(vec![("qb-branches".into(), filter)]).ok();
                let dead_letter = Some(dead.clone());
                let subscription = Subscription { queue: queue.clone(), filter, dead_letter };
                topic.subscribe(subscription).unwrap();
                let runner = |role| {
                    let outbox = LoopbackOutbox {
                        source: queue.clone(),
                        parking: parking.clone(),
                        callbacks: callbacks.clone(),
                    };
                    // Who sends to one queue says which branch it is.
                    let branch = match plan.way {
                        Way::Topic => Branch::Named(name.as_str().into()),
                        Way::Queues => Branch::Unknown,
                    };
                    let settings = RunnerSettings { role, branch, ..RunnerSettings::default() };
                    let (routes, store, keys) = (script.routes(), store.clone(), keys.clone());
                    let outbox = (plan.outbox)(outbox);
                    Runner::new(routes, store, kept.clone(), outbox, keys, clock, settings)
                };
                let (runner, undertaker) = (runner(Role::Jobs), runner(Role::DeadLetters));
                Station { name: name.clone(), queue, dead, runner, undertaker }
            })
            .collect();
        let publishers: Vec<Arc<dyn Publisher>> = match plan.way {
            Way::Topic => vec![topic.clone()],
            Way::Queues => stations.iter().map(|station| station.queue.clone() as _).collect(),
        };
        let publishers = publishers.into_iter().enumerate();
        let publishers = publishers.map(|(index, publisher)| (plan.between)(index, publisher));
        let destination = match plan.way {
            Way::Topic => Destination::Topic("topic".into()),
            Way::Queues => Destination::Branches,
        };
        let mut route = RouteConfig {
            fan_out: Some(FanOut { rule: plan.rule, branches: plan.branches }),
            initial_backoff: Duration::from_secs(1),
            ..RouteConfig::new(MethodPattern::All, destination)
        };
        (plan.route)(&mut route);
        let mut routes = Routes::new();
        routes.push(route, publishers.map(Batcher::new).collect(), None);
        let gathers = Gathers::new(store.clone(), kept.clone());
        let lookup = Arc::new(Lookup {
            store: store.clone(),
            gathers: gathers.clone(),
            closes: Closes::default(),
            streams: store.clone(),
            payloads: kept.clone(),
            clock,
            methods: Methods::default(),
            max_response_bytes: 1 << 20,
            max_message_bytes: 4 << 20,
            quotas: plan.quotas.clone(),
            job_id_keys: keys.clone(),
        });
        let (replies, draining) = (Arc::new(Replies::in_process()), CancellationToken::new());
        let door = FrontDoor {
            routes,
            job_id_keys: keys.clone(),
            seal: keys.clone().into(),
            submissions: store.clone(),
            gathers,
            replies: replies.clone(),
            payloads: kept,
            callbacks: Some(Callbacks {
                config: CallbackConfig {
                    queue: "q".into(),
                    allow: Vec::new(),
                    allow_http: false,
                    targets: Vec::new(),
                    tenants: BTreeMap::new(),
                },
                batcher: Batcher::new(callbacks.clone()),
            }),
            clock,
            admission: Admission::new(1000),
            quotas: plan.quotas,
        };
        let waiter = Waiter::new(lookup.clone(), replies, draining.clone());
        let service = JobsService::new(Parts {
            door: Arc::new(door),
            lookup,
            waiter,
            job_id_keys: keys.clone(),
            draining,
            closing: CancellationToken::new(),
        });
        Self { script, keys, clock, store, payloads, parking, callbacks, topic, stations, service }
    }

    pub(crate) async fn submit(&self, request: SubmitRequest) -> Result<Job, Status> {
        let request = SubmitRequest { method: METHOD.into(), ..request };
        self.service.submit(self.asking(request)).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn get(&self, id: &str) -> Result<Job, Status> {
        let request = GetResultRequest { id: id.to_owned(), wait: None };
        self.service.get_result(self.asking(request)).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn cancel(&self, id: &str) -> Result<Job, Status> {
        let request = CancelRequest { id: id.to_owned() };
        self.service.cancel(self.asking(request)).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn delete(&self, id: &str) -> Result<(), Status> {
        let request = DeleteRequest { id: id.to_owned() };
        self.service.delete(self.asking(request)).await.map(tonic::Response::into_inner)
    }

    pub(crate) fn asking<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(Identity::trusted("t"));
        request
    }

    pub(crate) fn station(&self, name: &str) -> &Station {
        self.stations.iter().find(|station| station.name == name).unwrap()
    }

    /// The worker of a branch takes what is in its queue, once.
    pub(crate) async fn work(&self, name: &str) -> Vec<Verdict> {
        let Station { queue, runner, .. } = self.station(name);
        run(queue, runner).await
    }

    /// The dead-letter handler of a branch takes what is in its queue.
    pub(crate) async fn bury(&self, name: &str) -> Vec<Verdict> {
        let Station { dead, undertaker, .. } = self.station(name);
        run(dead, undertaker).await
    }

    /// What lies in the callback queue: timers, and ids of jobs that are to be told.
    pub(crate) async fn callbacks(&self) -> (usize, Vec<String>) {
        // A timer waits for its time.
        let (mut timers, mut told) = (self.callbacks.counts().delayed, Vec::new());
        loop {
            let messages = self.callbacks.receive(10, Duration::ZERO).await.unwrap();
            if messages.is_empty() {
                return (timers, told);
            }
            for message in messages {
                self.callbacks.delete(&message.receipt_handle).unwrap();
                let message = callback::open(&message.body, &self.keys).unwrap();
                match message.kind() {
                    Kind::Timer => timers += 1,
                    _ => told.push(message.job_id),
                }
            }
        }
    }
}

async fn run(queue: &Arc<Loopback>, runner: &Arc<Runner>) -> Vec<Verdict> {
    let messages = queue.receive(10, Duration::ZERO).await.unwrap();
    let deliveries = messages.iter().map(|m| delivery(m, queue)).collect();
    let stop = CancellationToken::new();
    let verdicts = batch::run(runner, deliveries, None, &stop).await;
    for (message, verdict) in messages.iter().zip(&verdicts) {
        match verdict {
            Verdict::Ack => queue.delete(&message.receipt_handle).unwrap(),
            Verdict::Redeliver { after, .. } => {
                queue.change_visibility(&message.receipt_handle, *after).unwrap();
            }
        }
    }
    verdicts
}

pub(crate) fn delivery(message: &Received, queue: &Loopback) -> Delivery {
    Delivery {
        receive_count: message.receive_count,
        fifo_group: message.group_id.as_deref().filter(|_| queue.is_fifo()).map(str::to_owned),
        source: queue.name().into(),
        trace_header: message.trace_header.as_deref().map(str::to_owned),
        ..Delivery::new(message.body.clone())
    }
}

pub(crate) fn webhook() -> Option<Callback> {
    Some(Callback { target: Some(Target::WebhookUrl("https://example.com/".into())) })
}

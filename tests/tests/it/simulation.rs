//! The bridge in simulated time, with everything failing: stores that lose
//! requests and answers, a queue that doubles messages and forgets to answer,
//! workers that die in the middle. What was accepted ends exactly once.

use crate::chaos::{Random, Unreliable, UnreliableOutbox};
use prost::Message as _;
use queuebridge_demo::v1;
use queuebridge_demo::v1::next_request::Wish;
use queuebridge_gateway::admission::Admission;
use queuebridge_gateway::callback::Callbacks;
use queuebridge_gateway::config::{CallbackConfig, Destination, MethodPattern, RouteConfig};
use queuebridge_gateway::identity::Identity;
use queuebridge_gateway::lookup::Closes;
use queuebridge_gateway::lookup::{Found, Lookup};
use queuebridge_gateway::publish::batcher::Batcher;
use queuebridge_gateway::quota::Quotas;
use queuebridge_gateway::route::Routes;
use queuebridge_gateway::submit::FrontDoor;
use queuebridge_gateway::view::Methods;
use queuebridge_local::loopback::{Loopback, QueueConfig, Redrive};
use queuebridge_local::{LoopbackOutbox, LoopbackSource};
use queuebridge_proto::callback;
use queuebridge_proto::v1::callback::Target;
use queuebridge_proto::v1::callback_message::Kind;
use queuebridge_proto::v1::{Callback, State, SubmitRequest};
use queuebridge_proto::{JobId, Keyring, UnixMillis};
use queuebridge_store::memory::MemoryResultStore;
use queuebridge_store::testing::{Fault, Faulty};
use queuebridge_store::{Cancelled, Clock, Gathers, ResultStore};
use queuebridge_worker::host::poller::{self, PollerSettings};
use queuebridge_worker::{Role, Runner, RunnerSettings};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::sleep;

const JOBS: u64 = 60;
const EXPIRY: Duration = Duration::from_secs(3 * 3600);
/// Low enough that some messages are dead-lettered.
const MAX_RECEIVES: u32 = 7;
const DAY: Duration = Duration::from_secs(24 * 3600);

struct World {
    random: Random,
    clock: Clock,
    store: Arc<Faulty<MemoryResultStore>>,
    queue: Arc<Loopback>,
    dead: Arc<Loopback>,
    parking: Arc<Loopback>,
    /// Nobody reads it: what lies there in the end is what would be told.
    callbacks: Arc<Loopback>,
    runner: Arc<Runner>,
    undertaker: Arc<Runner>,
    door: FrontDoor,
    lookup: Lookup,
    dir: tempfile::TempDir,
}

impl World {
    fn new(seed: u64) -> Self {
        let clock = Clock::simulated(UnixMillis(1_700_000_000_000));
        let random = |salt| Random::new(seed.wrapping_mul(31).wrapping_add(salt));
        let store = Arc::new(Faulty::new(Arc::new(MemoryResultStore::new(DAY))));
        let kept = |name| QueueConfig { retention: DAY, ..QueueConfig::standard(name, clock) };
        let (dead, parking) = (kept("dead"), kept("parked"));
        let (dead, parking) = (Loopback::new(dead).unwrap(), Loopback::new(parking).unwrap());
        let callbacks = Loopback::new(kept("callbacks")).unwrap();
        let redrive = Redrive { max_receive_count: MAX_RECEIVES, dead_letter: dead.clone() };
        let queue = QueueConfig { redrive: Some(redrive), ..kept("jobs") };
        let queue = Loopback::new(queue).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let routes = queuebridge_demo::routes_with_probe(dir.path());
        let keys = Keyring::single(&[1; 32]);
        let runner = |role, salt| {
            let (source, parking, callbacks) = (queue.clone(), parking.clone(), callbacks.clone());
            let inner = LoopbackOutbox { source, parking, callbacks };
            let outbox = Arc::new(UnreliableOutbox { inner, random: random(salt) });
            let settings = RunnerSettings { role, ..RunnerSettings::default() };
            let (routes, store, keys) = (routes.clone(), store.clone(), keys.clone());
            Runner::new(routes, store, None, outbox, keys, clock, settings)
        };
        let (runner, undertaker) = (runner(Role::Jobs, 3), runner(Role::DeadLetters, 4));
        let publisher = Unreliable { queue: queue.clone(), random: random(1) };
        let route = RouteConfig {
            default_expiry: EXPIRY,
            default_retention: DAY * 10,
            max_attempts: 4,
            ..RouteConfig::new(MethodPattern::All, Destination::Queue("q".into()))
        };
        let door = FrontDoor {
            routes: Routes::new().with(route, Arc::new(publisher)),
            job_id_keys: keys.clone(),
            seal: keys.clone().into(),
            submissions: store.clone(),
            gathers: Gathers::new(store.clone(), None),
            replies: Arc::default(),
            payloads: None,
            callbacks: Some(Callbacks {
                config: CallbackConfig {
                    queue: "q".into(),
                    allow: Vec::new(),
                    allow_http: false,
                    targets: Vec::new(),
                    tenants: BTreeMap::new(),
                },
                batcher: Batcher::new(Arc::new(Unreliable {
                    queue: callbacks.clone(),
                    random: random(5),
                })),
            }),
            clock,
            admission: Admission::new(1000),
            quotas: Quotas::default(),
        };
        let lookup = Lookup {
            store: store.clone(),
            gathers: Gathers::new(store.clone(), None),
            closes: Closes::default(),
            streams: store.clone(),
            quotas: Quotas::default(),
            job_id_keys: keys,
            payloads: None,
            clock,
            methods: Methods::default(),
            max_response_bytes: 1 << 20,
            max_message_bytes: 4 << 20,
        };
        Self {
            random: random(2),
            clock,
            store,
            queue,
            dead,
            parking,
            callbacks,
            runner,
            undertaker,
            door,
            lookup,
            dir,
        }
    }

    /// Workers come, and are killed in the middle of what they do.
    async fn workers(&self, runner: &Arc<Runner>, queue: &Arc<Loopback>) {
        loop {
            let source = LoopbackSource(queue.clone());
            let settings = PollerSettings { concurrency: 8, drain_timeout: DAY };
            let worker = poller::run(runner.clone(), source, settings, std::future::pending());
            let life = Duration::from_millis(500 + self.random.below(90_000));
            let _ = tokio::time::timeout(life, worker).await;
        }
    }

    /// The jobs whose messages are parked.
    async fn parked(&self) -> HashSet<JobId> {
        let mut all = HashSet::new();
        loop {
            let messages = self.parking.receive_batch(1000, Duration::ZERO).await.unwrap();
            if messages.is_empty() {
                return all;
            }
            let job = |(name, value): &(&str, String)| {
                (*name == "qb-job").then(|| JobId::parse_trusted(value).unwrap())
            };
            all.extend(messages.iter().flat_map(|m| m.attributes.iter().filter_map(job)));
        }
    }

    /// The jobs that would be told of, and those that have a timer.
    async fn told(&self) -> (HashSet<String>, HashSet<String>) {
        let (mut told, mut timed) = (HashSet::new(), HashSet::new());
        loop {
            let messages = self.callbacks.receive_batch(1000, Duration::ZERO).await.unwrap();
            if messages.is_empty() {
                return (told, timed);
            }
            for message in messages {
                let message = callback::open(&message.body, &Keyring::single(&[1; 32])).unwrap();
                match message.kind() {
                    Kind::Timer => timed.insert(message.job_id),
                    _ => told.insert(message.job_id),
                };
            }
        }
    }

    fn request(number: u64, file: &str) -> SubmitRequest {
        let file = file.to_owned();
        let wait = prost_types::Duration { seconds: (number * 7 % 40).cast_signed(), nanos: 0 };
        let (method, request) = match number % 8 {
            0 => ("Panic", v1::PanicRequest::default().encode_to_vec()),
            1 => {
                let key = uuid::Uuid::new_v4().to_string();
                ("Flaky", v1::FlakyRequest { key, failures: 2 }.encode_to_vec())
            }
            2 => {
                let fail = v1::FailRequest { code: 9, ..Default::default() };
                ("Fail", fail.encode_to_vec())
            }
            3 => {
                let after = Some(prost_types::Duration { seconds: 1500, nanos: 0 });
                let (key, wish) = (uuid::Uuid::new_v4().to_string(), Wish::Snooze as i32);
                ("Next", v1::NextRequest { key, times: 2, wish, after }.encode_to_vec())
            }
            4 => {
                let key = uuid::Uuid::new_v4().to_string();
                ("Flaky", v1::FlakyRequest { key, failures: 99 }.encode_to_vec())
            }
            _ => {
                let then_wait = Some(wait);
                let append = v1::AppendRequest { file, line: "x".into(), then_wait };
                ("Append", append.encode_to_vec())
            }
        };
        SubmitRequest {
            method: format!("/queuebridge.demo.v1.Probe/{method}"),
            request: request.into(),
            request_id: if number.is_multiple_of(2) { format!("r{number}") } else { String::new() },
            callback: Some(Callback {
                target: Some(Target::WebhookUrl("https://example.com/".into())),
            }),
            ..SubmitRequest::default()
        }
    }

    /// Submits until it is accepted, as a client with patience would. With a
    /// request id every further try must lead to the same job.
    /// Without one every try may be a job of its own, and so has its own file.
    async fn submit(&self, number: u64) -> Option<Accepted> {
        let caller = Identity::trusted("t");
        let idempotent = number.is_multiple_of(2);
        let mut accepted: Option<Accepted> = None;
        for attempt in 0..20 {
            let file = format!("{number}.{}", if idempotent { 0 } else { attempt });
            let request = Self::request(number, &file);
            let prepared = self.door.prepare(&caller, request).unwrap();
            if let Ok(ticket) = self.door.accept(&caller, prepared, None).await {
                let new = Accepted { number, id: ticket.id, file };
                let first = accepted.get_or_insert(new).id;
                assert_eq!(first, ticket.id, "the same request id, another job");
                if !idempotent || self.random.below(2) == 0 {
                    break;
                }
            }
            sleep(Duration::from_secs(1)).await;
        }
        accepted
    }
}

/// An accepted job, and the file to which its handler may write.
struct Accepted {
    number: u64,
    id: JobId,
    file: String,
}

fn executions(dir: &Path, job: &Accepted) -> usize {
    std::fs::read_to_string(dir.join(&job.file)).map_or(0, |text| text.lines().count())
}

async fn run(seed: u64) {
    let world = World::new(seed);
    let fault = if seed.is_multiple_of(2) { Fault::LoseResponse } else { Fault::LoseRequest };
    world.store.every(5, fault);
    let ended: Mutex<HashMap<JobId, State>> = Mutex::default();
    let story = async {
        let mut accepted: Vec<Accepted> = Vec::new();
        let mut cancelled = HashMap::new();
        for number in 0..JOBS {
            let Some(job) = world.submit(number).await else { continue };
            if number % 7 == 3
                && let Ok(Cancelled::BeforeStart) =
                    world.store.cancel(&job.id, world.clock.now()).await
            {
                cancelled.insert(job.id, executions(world.dir.path(), &job));
            }
            accepted.push(job);
            sleep(Duration::from_millis(world.random.below(3_000))).await;
            for job in &accepted {
                if let Ok(Found::Finished(record)) = world.lookup.find(&job.id).await {
                    let first = *ended.lock().unwrap().entry(job.id).or_insert(record.state);
                    assert_eq!(first, record.state, "a terminal state has changed");
                }
            }
        }
        // Everything has its time, and is over after the expiry at the latest.
        sleep(EXPIRY + Duration::from_secs(60)).await;
        (accepted, cancelled)
    };
    let (accepted, cancelled) = tokio::select! {
        story = story => story,
        () = world.workers(&world.runner, &world.queue) => unreachable!(),
        () = world.workers(&world.undertaker, &world.dead) => unreachable!(),
    };
    world.store.every(0, Fault::None);
    assert!(accepted.len() as u64 > JOBS / 2, "only {} accepted", accepted.len());
    let parked = world.parked().await;
    let (told, timed) = world.told().await;
    let mut unexpired = 0;
    for job in &accepted {
        let number = job.number;
        let found = world.lookup.find(&job.id).await.unwrap();
        let Found::Finished(record) = found else { panic!("seed {seed}: job {number}: {found:?}") };
        if let Some(first) = ended.lock().unwrap().get(&job.id) {
            assert_eq!(*first, record.state, "a terminal state has changed");
        }
        unexpired += usize::from(record.state != State::Expired);
        let (id, state) = (job.id.to_string(), record.state);
        assert!(timed.contains(&id), "seed {seed}: job {number} has no timer");
        assert!(
            told.contains(&id) || state == State::Expired,
            "seed {seed}: nobody is told that job {number} is {state:?}"
        );
        let ran = executions(world.dir.path(), job);
        match (record.state, number % 8) {
            (State::Succeeded, 5..) => assert!(ran >= 1, "seed {seed}: job {number} never ran"),
            (State::Succeeded, 0 | 2 | 4) => panic!("seed {seed}: job {number} cannot succeed"),
            _ => {}
        }
        if record.state == State::Failed && number % 8 != 2 {
            assert!(
                parked.contains(&job.id),
                "seed {seed}: job {number} failed and was not parked"
            );
        }
        assert!(
            record.state != State::Succeeded || !parked.contains(&job.id),
            "seed {seed}: job {number} succeeded and was parked"
        );
        if let Some(before) = cancelled.get(&job.id) {
            assert_eq!(record.state, State::Cancelled, "seed {seed}: job {number}");
            assert_eq!(ran, *before, "seed {seed}: job {number} ran after its cancellation");
        }
    }
    assert!(unexpired * 10 > accepted.len() * 9, "seed {seed}: too many jobs just expired");
    for queue in [&world.queue, &world.dead] {
        let left = queue.counts();
        assert_eq!((left.visible, left.in_flight, left.delayed), (0, 0, 0), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "a seed to repeat is named from outside")]
async fn what_was_accepted_ends_exactly_once_whatever_fails() {
    // QB_TEST_SEED names one run to repeat; otherwise a fixed few.
    let named = std::env::var("QB_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in named.map_or(0..8, |seed: u64| seed..seed + 1) {
        run(seed).await;
    }
}

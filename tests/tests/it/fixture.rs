//! A worker's runner over memory stores, in simulated time, and calls for it.

use prost::Message;
use queuebridge_demo::v1;
use queuebridge_gateway::auth::Verb;
use queuebridge_gateway::identity::Identity;
use queuebridge_gateway::leaving::CallRoom;
use queuebridge_gateway::reading::Reading;
use queuebridge_local::LoopbackOutbox;
use queuebridge_local::loopback::{Loopback, QueueConfig, Received};
use queuebridge_proto::job_id::Claims;
use queuebridge_proto::time::duration_to_proto;
use queuebridge_proto::v1::call::Payload;
use queuebridge_proto::v1::outcome::Result as Kind;
use queuebridge_proto::v1::{AttemptRules, Call, Callback, Guarantee, LeasePolicy, State};
use queuebridge_proto::{JobId, Keyring, UnixMillis, envelope};
use queuebridge_store::memory::{MemoryPayloadStore, MemoryResultStore};
use queuebridge_store::testing::Faulty;
use queuebridge_store::{Clock, Record, ResultStore};
use queuebridge_worker::{Delivery, Outbox, Reason, Role, Runner, RunnerSettings, Verdict, batch};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Code;

pub(crate) const START: UnixMillis = UnixMillis(1_700_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

pub(crate) struct Worker {
    pub(crate) keys: Keyring,
    pub(crate) clock: Clock,
    pub(crate) store: Arc<Faulty<MemoryResultStore>>,
    pub(crate) payloads: Arc<Faulty<MemoryPayloadStore>>,
    pub(crate) runner: Arc<Runner>,
    /// Where snoozed jobs go.
    pub(crate) jobs: Arc<Loopback>,
    pub(crate) parking: Arc<Loopback>,
    pub(crate) callbacks: Arc<Loopback>,
    pub(crate) dir: tempfile::TempDir,
}

/// What a test says about a job besides its call.
pub(crate) struct Job {
    pub(crate) expires_in: Duration,
    pub(crate) max_attempts: u32,
    pub(crate) guarantee: Guarantee,
    pub(crate) group: Option<&'static str>,
    pub(crate) lease_policy: LeasePolicy,
    /// Its end is announced on the reply shard with the number 0.
    pub(crate) announced: bool,
    pub(crate) callback: Option<Callback>,
}

impl Default for Job {
    fn default() -> Self {
        Self {
            expires_in: HOUR,
            max_attempts: 3,
            guarantee: Guarantee::Claimed,
            group: None,
            lease_policy: LeasePolicy::Retry,
            announced: false,
            callback: None,
        }
    }
}

impl Worker {
    pub(crate) fn new() -> Self {
        Self::with(RunnerSettings::default())
    }

    pub(crate) fn with(settings: RunnerSettings) -> Self {
        Self::sending(settings, |outbox| Arc::new(outbox))
    }

    /// A worker that sends its messages through what `outbox` makes of its own.
    pub(crate) fn sending(
        settings: RunnerSettings,
        outbox: impl FnOnce(LoopbackOutbox) -> Arc<dyn Outbox>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keyring::single(&[1; 32]);
        let clock = Clock::simulated(START);
        let store = Arc::new(Faulty::new(Arc::new(MemoryResultStore::new(HOUR * 240))));
        let payloads = Arc::new(Faulty::new(Arc::new(MemoryPayloadStore::new(HOUR, clock))));
        let routes = queuebridge_demo::routes_with_probe(dir.path());
        let queue = |name| Loopback::new(QueueConfig::standard(name, clock)).unwrap();
        let (jobs, parking, callbacks) = (queue("jobs"), queue("parked"), queue("callbacks"));
        let outbox = outbox(LoopbackOutbox {
            source: jobs.clone(),
            parking: parking.clone(),
            callbacks: callbacks.clone(),
        });
        let kept = Some(payloads.clone() as _);
        let runner =
            Runner::new(routes, store.clone(), kept, outbox, keys.clone(), clock, settings);
        Self { keys, clock, store, payloads, runner, jobs, parking, callbacks, dir }
    }

    pub(crate) fn job(&self, method: &str, request: &impl Message, job: &Job) -> (JobId, Delivery) {
        let payload = Payload::Request(request.encode_to_vec().into());
        self.job_with(method, payload, job)
    }

    pub(crate) fn job_with(&self, method: &str, payload: Payload, job: &Job) -> (JobId, Delivery) {
        let method = format!("/queuebridge.demo.v1.Probe/{method}");
        let claims = Claims {
            uuid: uuid::Uuid::now_v7(),
            tenant: "t",
            method: &method,
            expires_at: self.clock.now().plus(job.expires_in),
            retention: HOUR,
            at_least_once: job.guarantee == Guarantee::AtLeastOnce,
            reply_shard: job.announced.then_some(0),
        };
        let id = JobId::mint(&claims, &self.keys);
        let call = Call {
            job_id: id.to_string(),
            method,
            tenant: "t".into(),
            payload: Some(payload),
            attempts: Some(AttemptRules {
                max_attempts: job.max_attempts,
                retry_on: vec![Code::Unavailable as i32],
                initial_backoff: Some(duration_to_proto(Duration::from_secs(8))),
                max_backoff: Some(duration_to_proto(Duration::from_secs(60))),
            }),
            guarantee: job.guarantee as i32,
            lease_policy: job.lease_policy as i32,
            reply_shard: if job.announced { "shard".into() } else { String::new() },
            callback: job.callback.clone(),
            ..Call::default()
        };
        let fifo_group = job.group.map(str::to_owned);
        (id, Delivery { fifo_group, ..Delivery::new(envelope::seal(&call, &self.keys)) })
    }

    /// The same worker in the role of the dead-letter handler.
    pub(crate) fn dead_letters(&self) -> Arc<Runner> {
        let (source, parking) = (self.jobs.clone(), self.parking.clone());
        let outbox = LoopbackOutbox { source, parking, callbacks: self.callbacks.clone() };
        let settings = RunnerSettings { role: Role::DeadLetters, ..RunnerSettings::default() };
        let (store, keys) = (self.store.clone(), self.keys.clone());
        let routes = tonic::service::Routes::default();
        Runner::new(routes, store, None, Arc::new(outbox), keys, self.clock, settings)
    }

    /// What lies in the parking queue, with the reasons.
    pub(crate) async fn parked(&self) -> Vec<(String, String)> {
        let messages = self.parking.receive_batch(100, Duration::ZERO).await.unwrap();
        let reason = |name: &str| name == "qb-parked";
        let of = |message: &Received| {
            let reason = message.attributes.iter().find(|(name, _)| reason(name));
            (message.body.to_string(), reason.map(|(_, value)| value.clone()).unwrap_or_default())
        };
        messages.iter().map(of).collect()
    }

    pub(crate) async fn run(&self, delivery: &Delivery) -> Verdict {
        self.run_all(vec![delivery.clone()], None).await.pop().unwrap()
    }

    pub(crate) async fn run_all(
        &self,
        deliveries: Vec<Delivery>,
        ends: Option<Duration>,
    ) -> Vec<Verdict> {
        let ends_at = ends.map(|after| Instant::now() + after);
        batch::run(&self.runner, deliveries, ends_at, &CancellationToken::new()).await
    }

    pub(crate) async fn record(&self, id: &JobId) -> Option<Record> {
        self.store.get(id, self.clock.now()).await.unwrap()
    }

    pub(crate) async fn ended(&self, id: &JobId) -> (State, Code, String) {
        let record = self.record(id).await.expect("a record");
        let Some(Kind::Error(status)) = record.outcome.and_then(|o| o.result) else {
            panic!("not an error")
        };
        let status = queuebridge_proto::outcome::from_rpc_status(&status);
        let details = tonic_types::StatusExt::get_error_details(&status);
        let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
        (record.state, status.code(), reason)
    }

    pub(crate) fn executions(&self, file: &str) -> usize {
        std::fs::read_to_string(self.dir.path().join(file)).map_or(0, |text| text.lines().count())
    }
}

#[track_caller]
pub(crate) fn redelivered(verdict: &Verdict, expected: Reason) -> Duration {
    match verdict {
        Verdict::Redeliver { after, reason } if *reason == expected => *after,
        other => panic!("expected {expected:?}, got {other:?}"),
    }
}

pub(crate) fn append(file: &str) -> v1::AppendRequest {
    v1::AppendRequest { file: file.into(), line: "x".into(), then_wait: None }
}

pub(crate) fn sleep_for(secs: i64) -> v1::SleepRequest {
    let duration = prost_types::Duration { seconds: secs, nanos: 0 };
    v1::SleepRequest { duration: Some(duration) }
}

pub(crate) fn flaky(failures: u32) -> v1::FlakyRequest {
    v1::FlakyRequest { key: uuid::Uuid::new_v4().to_string(), failures }
}

/// What somebody may see who may see everything.
pub(crate) fn reading(id: &JobId) -> Reading {
    let room = CallRoom::of(&tonic::Request::new(()));
    Reading::granted(&Identity::trusted("t"), Verb::Read, id, room).unwrap()
}

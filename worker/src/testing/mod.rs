//! Testing a service through real batches, without a queue, a store or a host.
//!
//! A [`Bench`] is a small model of the queue around the very code that runs
//! batches in production: claims, retries, time-outs, snoozes, parking. With
//! tokio's paused time (`#[tokio::test(start_paused = true)]`, tokio's feature
//! `test-util`) hours of backoff pass in milliseconds.
//!
//! ```
//! use queuebridge_worker::testing::{Bench, Submission};
//! # use tonic::{Code, service::Routes};
//! # fn my_routes() -> Routes { Routes::default() }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let mut bench = Bench::new(my_routes());
//! let job = bench.submit("/shop.v1.Orders/Ship", &(), Submission::default());
//! bench.duplicate(&job); // queues may deliver twice
//! bench.drain().await; // redeliveries and their pauses included
//! let answer = bench.result::<()>(&job).await;
//! assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
//! # }
//! ```

mod queue;
mod submission;

pub use submission::Submission;

use crate::runner::{Runner, RunnerSettings};
use crate::verdict::Verdict;
use crate::{Delivery, batch};
use prost::Message;
use queue::Queue;
use queuebridge_proto::v1::outcome::Result as Kind;
use queuebridge_proto::v1::{Outcome, State};
use queuebridge_proto::{JobId, Keyring, UnixMillis, envelope, outcome};
use queuebridge_store::memory::{MemoryPayloadStore, MemoryResultStore};
use queuebridge_store::{Clock, PayloadStore, Record, ResultStore};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Code, Status};

/// The tenant of every job.
const TENANT: &str = "test";
/// How long results and tombstones are kept: longer than any test.
const KEPT: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// When the simulated clock starts.
const START: UnixMillis = UnixMillis(1_700_000_000_000);
/// The time of an invocation unless a test says otherwise.
const INVOCATION: Duration = Duration::from_secs(60);
/// More invocations than any sensible job needs.
const MAX_INVOCATIONS: usize = 10_000;

/// Services, a queue, and stores, in this process and in simulated time.
pub struct Bench {
    runner: Arc<Runner>,
    queue: Arc<Queue>,
    store: Arc<MemoryResultStore>,
    payloads: Arc<MemoryPayloadStore>,
    keys: Keyring,
    clock: Clock,
}

/// One delivery of an invocation, and what the worker said about its message.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The job, if the message was one.
    pub job: Option<JobId>,
    /// What happens with the message.
    pub verdict: Verdict,
}

impl Bench {
    /// A bench around services, with the kit's default settings.
    #[must_use]
    pub fn new(routes: Routes) -> Self {
        Self::with(routes, RunnerSettings::default())
    }

    /// A bench with settings of its own.
    #[must_use]
    pub fn with(routes: Routes, settings: RunnerSettings) -> Self {
        let clock = Clock::simulated(START);
        let keys = Keyring::single(&[1; 32]);
        let store = Arc::new(MemoryResultStore::new(KEPT));
        let payloads = Arc::new(MemoryPayloadStore::new(KEPT, clock));
        let queue = Arc::new(Queue::default());
        let runner = Runner::new(
            routes,
            store.clone(),
            Some(payloads.clone()),
            queue.clone(),
            keys.clone(),
            clock,
            settings,
        );
        Self { runner, queue, store, payloads, keys, clock }
    }

    /// Puts a job into the queue.
    ///
    /// # Panics
    /// When `method` is not `/package.Service/Method`.
    pub fn submit(
        &mut self,
        method: &str,
        request: &impl Message,
        submission: Submission,
    ) -> JobId {
        let request = request.encode_to_vec().into();
        let (id, call) = submission.into_call(method, request, self.clock.now(), &self.keys);
        let group = (!call.ordering_key.is_empty()).then(|| call.ordering_key.clone());
        self.queue.put(envelope::seal(&call, &self.keys).into(), group, Duration::ZERO);
        id
    }

    /// Puts any text into the queue.
    pub fn submit_raw(&mut self, body: &str) {
        self.queue.put(body.into(), None, Duration::ZERO);
    }

    /// Puts a second copy of every message of a job into the queue, visible at
    /// once: standard queues may deliver a message twice.
    pub fn duplicate(&mut self, job: &JobId) {
        self.queue.duplicate(|body| self.job_of(body) == Some(*job));
    }

    /// One invocation with every message that is visible now, and a minute of
    /// time.
    pub async fn invoke(&mut self) -> Vec<Delivered> {
        self.invoke_for(INVOCATION).await
    }

    /// One invocation whose time ends after `time`: what has not finished half a
    /// second before that is ended, as at the time-out of a Lambda function.
    pub async fn invoke_for(&mut self, time: Duration) -> Vec<Delivered> {
        let messages = self.queue.receive();
        let deliveries: Vec<Delivery> = messages.iter().map(|m| m.delivery.clone()).collect();
        let jobs: Vec<_> = deliveries.iter().map(|d| self.job_of(&d.body)).collect();
        let ends_at = Instant::now() + time.saturating_sub(batch::FINISH_GRACE);
        let never = CancellationToken::new();
        let verdicts = batch::run(&self.runner, deliveries, Some(ends_at), &never).await;
        let settled = messages.into_iter().zip(verdicts).zip(jobs);
        let settle = |((message, verdict), job)| {
            if let Verdict::Redeliver { after, .. } = &verdict {
                self.queue.put_back(message, *after);
            }
            Delivered { job, verdict }
        };
        settled.map(settle).collect()
    }

    /// One invocation that dies after `time`, as a process that crashes or runs
    /// out of memory: handlers stop where they are, nothing is settled, and the
    /// messages come back when their visibility ends, after the lease has.
    pub async fn invoke_and_crash_after(&mut self, time: Duration) {
        let messages = self.queue.receive();
        let deliveries = messages.iter().map(|m| m.delivery.clone()).collect();
        let ends_at = Some(Instant::now() + INVOCATION);
        let never = CancellationToken::new();
        let run = batch::run(&self.runner, deliveries, ends_at, &never);
        let _ = timeout(time, run).await;
        for message in messages {
            self.queue.put_back(message, INVOCATION + Duration::from_secs(10));
        }
    }

    /// Invokes until the queue is empty, and waits for what is not visible yet.
    ///
    /// # Panics
    /// When there is no end: a job is snoozed or retried for ever.
    pub async fn drain(&mut self) -> Vec<Delivered> {
        let mut all = Vec::new();
        for _ in 0..MAX_INVOCATIONS {
            let Some(next) = self.queue.next_visible() else { return all };
            sleep_until(next).await;
            all.append(&mut self.invoke().await);
        }
        panic!("after {MAX_INVOCATIONS} invocations the queue is still not empty");
    }

    /// What the store knows of a job; `None` while nobody has claimed it.
    pub async fn record(&self, job: &JobId) -> Option<Record> {
        self.store.get(job, self.clock.now()).await.ok().flatten()
    }

    /// The answer of a finished job, as its caller would get it.
    ///
    /// # Errors
    /// The job's status when it has not succeeded; `UNAVAILABLE` while it is not
    /// finished, `INTERNAL` when the answer is not an `R`.
    pub async fn result<R: Message + Default>(&self, job: &JobId) -> Result<R, Status> {
        let unfinished = || Status::unavailable("the job is not finished");
        let record = self.record(job).await.ok_or_else(unfinished)?;
        let Outcome { result, .. } = record.outcome.ok_or_else(unfinished)?;
        let response = match result {
            Some(Kind::Response(response)) => response,
            Some(Kind::ResponseRef(at)) => {
                let fetched = self.payloads.get(&at).await;
                fetched.map_err(|error| Status::data_loss(error.to_string()))?
            }
            Some(Kind::Error(status)) => return Err(outcome::from_rpc_status(&status)),
            None => return Err(Status::new(Code::Internal, "an outcome without a result")),
        };
        R::decode(response).map_err(|error| Status::internal(error.to_string()))
    }

    /// Where a job stands.
    pub async fn state(&self, job: &JobId) -> State {
        self.record(job).await.map_or(State::Accepted, |record| record.state)
    }

    /// The reasons of the parked messages, in the order of parking.
    #[must_use]
    pub fn parked(&self) -> Vec<String> {
        self.queue.parked()
    }

    /// How many messages are in the queue, visible or not.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The store, to cancel jobs or to look closer. [`Bench::now`] is its time.
    #[must_use]
    pub fn store(&self) -> &dyn ResultStore {
        &*self.store
    }

    /// The simulated time.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    fn job_of(&self, body: &str) -> Option<JobId> {
        let call = envelope::open(body, &self.keys).ok()?;
        JobId::parse_trusted(&call.job_id).ok()
    }
}

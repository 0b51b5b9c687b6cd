//! Jobs with an ordering key, from the gateway through an ordered queue to a worker, in
//! simulated time.

use crate::fixture::{Worker, append, flaky};
use prost::Message;
use queuebridge_demo::v1;
use queuebridge_gateway::admission::Admission;
use queuebridge_gateway::config::{Destination, MethodPattern, RouteConfig};
use queuebridge_gateway::identity::Identity;
use queuebridge_gateway::jobs::{JobsService, Parts};
use queuebridge_gateway::quota::Quotas;
use queuebridge_gateway::replies::Replies;
use queuebridge_gateway::route::Routes;
use queuebridge_gateway::submit::FrontDoor;
use queuebridge_local::LoopbackSource;
use queuebridge_local::loopback::{Loopback, QueueConfig};
use queuebridge_proto::UnixMillis;
use queuebridge_proto::v1::jobs_server::Jobs;
use queuebridge_proto::v1::{GetResultRequest, Job, State, SubmitRequest};
use queuebridge_store::Gathers;
use queuebridge_worker::host::poller::{self, PollerSettings};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tonic::Request;

struct Bridge {
    worker: Worker,
    queue: Arc<Loopback>,
    jobs: JobsService,
}

impl Bridge {
    fn new() -> Self {
        let worker = Worker::new();
        let queue = Loopback::new(QueueConfig::fifo("jobs.fifo", worker.clock)).unwrap();
        let crate::waiting::Gateway { lookup, waiter, draining } =
            crate::waiting::gateway_with(&worker, Replies::default());
        let route = RouteConfig::new(MethodPattern::All, Destination::Queue("q.fifo".into()));
        let door = FrontDoor {
            routes: Routes::new().with(route, queue.clone()),
            job_id_keys: worker.keys.clone(),
            seal: worker.keys.clone().into(),
            submissions: worker.store.clone(),
            gathers: Gathers::new(worker.store.clone(), None),
            replies: Arc::new(Replies::default()),
            payloads: None,
            callbacks: None,
            clock: worker.clock,
            admission: Admission::new(100),
            quotas: Quotas::default(),
        };
        let jobs = JobsService::new(Parts {
            door: Arc::new(door),
            lookup,
            waiter,
            job_id_keys: worker.keys.clone(),
            draining,
            closing: CancellationToken::new(),
        });
        Self { worker, queue, jobs }
    }

    async fn submit(&self, method: &str, request: &impl Message, ordering_key: &str) -> String {
        let request = SubmitRequest {
            method: format!("/queuebridge.demo.v1.Probe/{method}"),
            request: request.encode_to_vec().into(),
            ordering_key: ordering_key.into(),
            ..SubmitRequest::default()
        };
        self.jobs.submit(asking(request)).await.unwrap().into_inner().id
    }

    /// Appends a line to the file that is named like its key, and takes some time.
    async fn line(&self, key: &str, line: &str) -> String {
        let then_wait = Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 });
        let request = v1::AppendRequest { line: line.into(), then_wait, ..append(key) };
        self.submit("Append", &request, key).await
    }

    /// The job once it is finished.
    async fn finished(&self, id: &str) -> Job {
        let wait = Some(prost_types::Duration { seconds: 10, nanos: 0 });
        loop {
            let request = GetResultRequest { id: id.to_owned(), wait };
            let job = self.jobs.get_result(asking(request)).await.unwrap().into_inner();
            if !matches!(job.state(), State::Accepted | State::Running) {
                return job;
            }
        }
    }

    /// Does what `story` says while a worker polls.
    async fn during<T>(&self, story: impl Future<Output = T>) -> T {
        let settings = PollerSettings { concurrency: 10, drain_timeout: Duration::from_secs(60) };
        let source = LoopbackSource(self.queue.clone());
        let runner = self.worker.runner.clone();
        tokio::select! {
            told = story => told,
            () = poller::run(runner, source, settings, std::future::pending()) => unreachable!(),
        }
    }
}

fn asking<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Identity::trusted("t"));
    request
}

fn start(job: &Job) -> UnixMillis {
    UnixMillis::from_proto(job.start_time.as_ref().unwrap()).unwrap()
}

fn end(job: &Job) -> UnixMillis {
    UnixMillis::from_proto(job.complete_time.as_ref().unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn jobs_of_a_key_run_one_by_one_in_the_order_of_acceptance() {
    let bridge = Bridge::new();
    let lines: Vec<String> = (0..15).map(|number| number.to_string()).collect();
    let story = async {
        let (mut ids, mut jobs) = (Vec::new(), Vec::new());
        for line in &lines {
            ids.push(bridge.line("order", line).await);
        }
        for id in ids {
            jobs.push(bridge.finished(&id).await);
        }
        jobs
    };
    let jobs = bridge.during(story).await;
    assert!(jobs.iter().all(|job| job.state() == State::Succeeded), "{jobs:?}");
    for pair in jobs.windows(2) {
        assert!(end(&pair[0]) <= start(&pair[1]), "{pair:?}");
    }
    let file = std::fs::read_to_string(bridge.worker.dir.path().join("order")).unwrap();
    assert_eq!(file.lines().collect::<Vec<_>>(), lines);
}

#[tokio::test(start_paused = true)]
async fn a_job_starts_after_the_earlier_one_of_its_key_has_finished() {
    let bridge = Bridge::new();
    let story = async {
        let first = bridge.submit("Flaky", &flaky(1), "held").await;
        let second = bridge.line("held", "after").await;
        let other = bridge.line("free", "at once").await;
        let first = bridge.finished(&first).await;
        (first, bridge.finished(&second).await, bridge.finished(&other).await)
    };
    let (first, second, other) = bridge.during(story).await;
    assert_eq!((first.attempt, second.attempt), (2, 1));
    assert!(end(&first) <= start(&second), "{first:?} {second:?}");
    assert!(end(&other) < end(&first), "another key does not wait: {other:?} {first:?}");
}

#[tokio::test(start_paused = true)]
async fn a_job_without_a_key_waits_for_none() {
    let bridge = Bridge::new();
    let story = async {
        let id = bridge.submit("Echo", &v1::EchoRequest::default(), "").await;
        bridge.finished(&id).await
    };
    assert_eq!(bridge.during(story).await.state(), State::Succeeded);
}

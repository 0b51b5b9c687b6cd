//! The long-poll loop over a loopback queue, in simulated time.

use crate::fixture::{Job, Worker, append};
use async_trait::async_trait;
use queuebridge_demo::v1::AppendRequest;
use queuebridge_gateway::publish::Message;
use queuebridge_local::LoopbackSource;
use queuebridge_local::loopback::{Loopback, QueueConfig};
use queuebridge_proto::v1::State;
use queuebridge_worker::host::poller::{self, PollerSettings};
use queuebridge_worker::host::source::{Received, Source};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

struct Setup {
    worker: Worker,
    queue: Arc<Loopback>,
}

impl Setup {
    fn new() -> Self {
        let worker = Worker::new();
        let queue = Loopback::new(QueueConfig::standard("jobs", worker.clock)).unwrap();
        Self { worker, queue }
    }

    /// Sends a job that writes a line and then takes this long.
    fn send(&self, file: &str, takes: i64) -> queuebridge_proto::JobId {
        let then_wait = Some(prost_types::Duration { seconds: takes, nanos: 0 });
        let request = AppendRequest { then_wait, ..append(file) };
        let (id, delivery) = self.worker.job("Append", &request, &Job::default());
        self.queue
            .send(&Message { body: delivery.body.to_string(), ..Message::default() })
            .unwrap();
        id
    }

    async fn run(
        &self,
        concurrency: usize,
        drain_timeout: Duration,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let settings = PollerSettings { concurrency, drain_timeout };
        let source = LoopbackSource(self.queue.clone());
        poller::run(self.worker.runner.clone(), source, settings, shutdown).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_job_is_kept_from_being_delivered_twice() {
    let setup = Setup::new();
    let id = setup.send("long", 600);
    setup.run(4, secs(1), sleep(secs(700))).await;
    assert_eq!(setup.worker.executions("long"), 1);
    let record = setup.worker.record(&id).await.unwrap();
    assert_eq!((record.state, record.attempt), (State::Succeeded, 1));
    let left = setup.queue.counts();
    assert_eq!((left.visible, left.in_flight), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_running_jobs_and_receives_no_more() {
    let setup = Setup::new();
    let running = setup.send("running", 20);
    let begun = Instant::now();
    let late = async {
        sleep(secs(5)).await;
        setup.send("late", 0)
    };
    let (late, ()) = tokio::join!(late, setup.run(4, secs(60), sleep(secs(4))));
    assert!(begun.elapsed() < secs(22), "{:?}", begun.elapsed());
    assert_eq!(setup.worker.record(&running).await.unwrap().state, State::Succeeded);
    assert_eq!(setup.worker.record(&late).await, None);
    assert_eq!(setup.queue.counts().visible, 1);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_finish_in_time_is_given_back_with_its_claim() {
    let setup = Setup::new();
    let id = setup.send("stuck", 600);
    let begun = Instant::now();
    setup.run(4, secs(10), sleep(secs(4))).await;
    assert!(begun.elapsed() < secs(16), "{:?}", begun.elapsed());
    assert_eq!(setup.queue.counts().visible, 1, "at once, not after its visibility time-out");
    let record = setup.worker.record(&id).await.unwrap();
    assert_eq!((record.state, record.token), (State::Accepted, None), "the claim is released");
}

#[tokio::test(start_paused = true)]
async fn no_more_jobs_run_at_once_than_allowed() {
    let setup = Setup::new();
    for _ in 0..9 {
        setup.send("bounded", 10);
    }
    setup.run(3, secs(0), sleep(secs(15))).await;
    assert_eq!(setup.worker.executions("bounded"), 6, "three, and after ten seconds three more");
}

#[tokio::test(start_paused = true)]
async fn a_slow_job_does_not_hold_up_its_batch() {
    let setup = Setup::new();
    setup.send("slow", 600);
    let quick: Vec<_> = (0..5).map(|_| setup.send("quick", 0)).collect();
    setup.run(10, secs(0), sleep(secs(2))).await;
    for id in quick {
        assert_eq!(setup.worker.record(&id).await.unwrap().state, State::Succeeded);
    }
    assert_eq!(setup.queue.counts().visible, 1, "the quick ones are deleted, the slow one is back");
}

/// A queue that is down.
struct Down(Arc<AtomicUsize>);

#[async_trait]
impl Source for Down {
    type Receipt = ();

    fn receive_max(&self) -> usize {
        10
    }

    async fn receive(
        &self,
        _: usize,
        _: Duration,
        _: &CancellationToken,
    ) -> Result<Vec<Received<()>>, String> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err("down".to_owned())
    }

    async fn delete(&self, _: Vec<()>) {}

    async fn change_visibility(&self, _: Vec<((), Duration)>) {}
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_down_is_asked_less_and_less() {
    let worker = Worker::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let settings = PollerSettings { concurrency: 10, drain_timeout: secs(1) };
    poller::run(worker.runner.clone(), Down(calls.clone()), settings, sleep(secs(600))).await;
    let calls = calls.load(Ordering::Relaxed);
    assert!((10..=60).contains(&calls), "{calls} calls in ten minutes");
}

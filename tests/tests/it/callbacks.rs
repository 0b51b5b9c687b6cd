//! Callbacks: enqueued before a finished job's message is acknowledged, told on a
//! schedule over days, parked after the last try; and the timers of their jobs.

use crate::fixture::{Job, Worker, append};
use crate::waiting::secs;
use async_trait::async_trait;
use queuebridge_gateway::publish::{Message, Publisher};
use queuebridge_local::LoopbackOutbox;
use queuebridge_local::loopback::Received;
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::callback::Target;
use queuebridge_proto::v1::callback_message::Kind;
use queuebridge_proto::v1::{Announcement, Callback, CallbackMessage, State};
use queuebridge_proto::{JobId, callback};
use queuebridge_store::ResultStore;
use queuebridge_store::testing::Fault;
use queuebridge_worker::callbacks::{Networks, Sender, SenderKeys, SenderSettings};
use queuebridge_worker::outbox::{Outbox, OutboxError, Outgoing};
use queuebridge_worker::{Delivery, Reason, Role, Runner, RunnerSettings, Verdict, batch};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::advance;
use tokio_util::sync::CancellationToken;

/// Nobody listens there.
const NOBODY: &str = "http://127.0.0.1:9/";

fn told(url: &str) -> Job {
    let target = Some(Target::WebhookUrl(url.to_owned()));
    Job { callback: Some(Callback { target }), ..Job::default() }
}

/// A callback queue that may be down.
struct Doubtful {
    inner: LoopbackOutbox,
    down: Arc<AtomicBool>,
}

#[async_trait]
impl Outbox for Doubtful {
    async fn call_back(&self, message: Outgoing) -> Result<(), OutboxError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(OutboxError::Unsent("down".into()));
        }
        self.inner.call_back(message).await
    }

    async fn resend(&self, to: &str, m: Outgoing, delay: Duration) -> Result<(), OutboxError> {
        self.inner.resend(to, m, delay).await
    }

    fn parks(&self) -> bool {
        true
    }

    async fn park(&self, message: Outgoing) -> Result<(), OutboxError> {
        self.inner.park(message).await
    }

    async fn announce(&self, shard: &str, jobs: Vec<Announcement>) -> Result<(), OutboxError> {
        self.inner.announce(shard, jobs).await
    }
}

fn doubtful() -> (Worker, Arc<AtomicBool>) {
    let down = Arc::new(AtomicBool::new(false));
    let told = down.clone();
    let settings = RunnerSettings::default();
    (Worker::sending(settings, |inner| Arc::new(Doubtful { inner, down: told })), down)
}

async fn enqueued(worker: &Worker) -> Vec<CallbackMessage> {
    let messages = worker.callbacks.receive_batch(100, Duration::ZERO).await.unwrap();
    messages.iter().map(|m| callback::open(&m.body, &worker.keys).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn whatever_becomes_of_a_job_its_callback_is_enqueued() {
    for (method, expected) in
        [("Append", State::Succeeded), ("Fail", State::Failed), ("Panic", State::Failed)]
    {
        let (worker, _) = doubtful();
        let job = Job { max_attempts: 1, ..told("https://example.com/") };
        let (id, delivery) = worker.job(method, &append("x"), &job);
        assert_eq!(worker.run(&delivery).await, Verdict::Ack, "{method}");
        assert_eq!(worker.record(&id).await.unwrap().state, expected);
        let messages = enqueued(&worker).await;
        assert_eq!(messages.len(), 1, "{method}");
        assert_eq!((messages[0].kind(), &messages[0].job_id), (Kind::Deliver, &id.to_string()));
        assert_eq!(messages[0].callback, job.callback);
    }
    // Ended by somebody else before it was delivered.
    let (worker, _) = doubtful();
    let job = Job { expires_in: secs(5), ..told("https://example.com/") };
    let (cancelled, first) = worker.job("Append", &append("x"), &job);
    worker.store.cancel(&cancelled, worker.clock.now()).await.unwrap();
    let (_, second) = worker.job("Append", &append("x"), &job);
    assert_eq!(worker.run(&first).await, Verdict::Ack);
    advance(secs(6)).await;
    assert_eq!(worker.run(&second).await, Verdict::Ack);
    assert_eq!(enqueued(&worker).await.len(), 2);
    assert_eq!(worker.executions("x"), 0);
}

#[tokio::test(start_paused = true)]
async fn without_its_callback_a_message_stays_and_the_job_is_not_run_again() {
    let (worker, down) = doubtful();
    let (id, delivery) = worker.job("Append", &append("once"), &told("https://example.com/"));
    down.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let Verdict::Redeliver { reason, .. } = worker.run(&delivery).await else { panic!() };
        assert_eq!(reason, Reason::CallbackUnavailable);
        assert_eq!(worker.record(&id).await.unwrap().state, State::Succeeded);
    }
    down.store(false, Ordering::Relaxed);
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(enqueued(&worker).await.len(), 1);
    assert_eq!(worker.executions("once"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_of_the_store_still_enqueues_the_callback() {
    let (worker, _) = doubtful();
    let (_, delivery) = worker.job("Append", &append("x"), &told("https://example.com/"));
    // The claim goes through, the completion's answer is lost.
    worker.store.script([Fault::None, Fault::LoseResponse]);
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(enqueued(&worker).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_told_too() {
    let (worker, _) = doubtful();
    let (_, delivery) = worker.job("Append", &append("x"), &told("https://example.com/"));
    let undertaker = worker.dead_letters();
    let stop = CancellationToken::new();
    for _ in 0..2 {
        let verdicts = batch::run(&undertaker, vec![delivery.clone()], None, &stop).await;
        assert_eq!(verdicts, [Verdict::Ack]);
    }
    // The second time somebody has redriven it by hand.
    assert_eq!(enqueued(&worker).await.len(), 2);
}

/// A sender over the worker's queues.
struct Callers {
    worker: Worker,
    sender: Arc<Runner>,
}

impl Callers {
    fn new() -> Self {
        let (worker, _) = doubtful();
        let here = vec!["127.0.0.0/8".parse().unwrap()];
        let networks = Networks::public_and(here);
        let signing_keys = SenderKeys::default();
        let sender = SenderSettings { signing_keys, networks, result_url: None };
        let sender = Sender::new(sender, None).unwrap();
        let settings = RunnerSettings {
            role: Role::Callbacks,
            callbacks: Some(Arc::new(sender)),
            ..RunnerSettings::default()
        };
        let outbox = LoopbackOutbox {
            source: worker.jobs.clone(),
            parking: worker.parking.clone(),
            callbacks: worker.callbacks.clone(),
        };
        let (store, keys) = (worker.store.clone(), worker.keys.clone());
        let routes = tonic::service::Routes::default();
        let outbox = Arc::new(outbox);
        let sender = Runner::new(routes, store, None, outbox, keys, worker.clock, settings);
        Self { worker, sender }
    }

    /// Runs one round of what lies in the callback queue. Returns how many there were.
    async fn round(&self) -> usize {
        let received = self.worker.callbacks.receive_batch(10, Duration::ZERO).await.unwrap();
        for message in &received {
            let verdict = self.deliver(message).await;
            assert_eq!(verdict, Verdict::Ack);
            self.worker.callbacks.delete(&message.receipt_handle).unwrap();
        }
        received.len()
    }

    async fn deliver(&self, message: &Received) -> Verdict {
        let delivery =
            Delivery { source: "callbacks".into(), ..Delivery::new(message.body.clone()) };
        let stop = CancellationToken::new();
        batch::run(&self.sender, vec![delivery], None, &stop).await.pop().unwrap()
    }

    async fn finished(&self, url: &str) -> JobId {
        let (id, delivery) = self.worker.job("Append", &append("x"), &told(url));
        assert_eq!(self.worker.run(&delivery).await, Verdict::Ack);
        id
    }

    fn timer(&self, id: &JobId, url: &str) -> CallbackMessage {
        CallbackMessage {
            kind: Kind::Timer as i32,
            job_id: id.to_string(),
            method: "/a.B/C".into(),
            tenant: "t".into(),
            callback: told(url).callback,
            not_before: Some(id.expires_at().plus(CLOCK_SKEW).to_proto()),
            ..CallbackMessage::default()
        }
    }

    async fn put(&self, message: &CallbackMessage) {
        let body = callback::seal(message, &self.worker.keys);
        let message = Message { body, ..Message::default() };
        let sent = self.worker.callbacks.publish(&[message]).await;
        assert_eq!(sent, [Ok(())]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_never_answers_is_tried_for_three_days_and_then_parked() {
    let callers = Callers::new();
    let id = callers.finished(NOBODY).await;
    let (begun, mut hops) = (tokio::time::Instant::now(), 0);
    while callers.worker.parking.counts().visible == 0 {
        hops += callers.round().await;
        advance(secs(60)).await;
        assert!(begun.elapsed() < secs(100 * 3600), "never parked");
    }
    let hours = begun.elapsed().as_secs() / 3600;
    assert!((75..=84).contains(&hours), "{hours} h");
    // Ten tries, and hops of a quarter of an hour between them.
    assert!((300..=400).contains(&hops), "{hops} hops");
    let parked = callers.worker.parked().await;
    assert_eq!(parked[0].1, "CALLBACK_FAILED");
    let message = callback::open(&parked[0].0, &callers.worker.keys).unwrap();
    assert_eq!((message.job_id, message.tries), (id.to_string(), 0), "ready for a replay");
}

#[tokio::test(start_paused = true)]
async fn a_timer_expires_a_job_that_nobody_finished_and_tells_it() {
    let callers = Callers::new();
    let job = Job { expires_in: secs(3600), ..Job::default() };
    let (id, _) = callers.worker.job("Append", &append("x"), &job);
    callers.put(&callers.timer(&id, NOBODY)).await;
    // In hops of a quarter of an hour.
    for _ in 0..4 {
        assert_eq!(callers.round().await, 1);
        assert_eq!(callers.worker.record(&id).await, None);
        advance(secs(900)).await;
    }
    assert_eq!(callers.round().await, 1);
    advance(secs(3)).await;
    assert_eq!(callers.round().await, 1);
    assert_eq!(callers.worker.record(&id).await.unwrap().state, State::Expired);
    // It was told, in vain: the next try waits.
    advance(secs(10)).await;
    let messages = enqueued(&callers.worker).await;
    assert_eq!((messages[0].kind(), messages[0].tries), (Kind::Deliver, 1));
}

#[tokio::test(start_paused = true)]
async fn a_timer_leaves_a_job_alone_that_has_ended() {
    let callers = Callers::new();
    let job = Job { expires_in: secs(5), ..told(NOBODY) };
    let (id, delivery) = callers.worker.job("Append", &append("x"), &job);
    assert_eq!(callers.worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(enqueued(&callers.worker).await.len(), 1);
    advance(secs(60)).await;
    callers.put(&callers.timer(&id, NOBODY)).await;
    let received = callers.worker.callbacks.receive_batch(10, Duration::ZERO).await.unwrap();
    let timers = received.iter().filter(|message| {
        callback::open(&message.body, &callers.worker.keys).unwrap().kind() == Kind::Timer
    });
    for timer in timers {
        assert_eq!(callers.deliver(timer).await, Verdict::Ack);
    }
    // A reader has stored the expiry of another: then nobody else has told it.
    let (late, _) = callers.worker.job("Append", &append("x"), &job);
    advance(secs(60)).await;
    callers.put(&callers.timer(&late, NOBODY)).await;
    while callers.round().await > 0 {}
    assert_eq!(callers.worker.record(&late).await.unwrap().state, State::Expired);
}

#[tokio::test(start_paused = true)]
async fn whom_only_a_later_copy_has_named_is_not_called() {
    let callers = Callers::new();
    let (id, delivery) = callers.worker.job("Append", &append("x"), &Job::default());
    assert_eq!(callers.worker.run(&delivery).await, Verdict::Ack);
    let named = CallbackMessage {
        kind: Kind::Deliver as i32,
        not_before: None,
        ..callers.timer(&id, NOBODY)
    };
    callers.put(&named).await;
    assert_eq!(callers.round().await, 1);
    advance(secs(3600)).await;
    // A call would have failed, and be tried again.
    assert_eq!(callers.round().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_url_that_means_another_one_is_not_called_whatever_a_gateway_has_let_in() {
    for path in ["hooks/../admin", "hooks/.%2e/admin", "hooks\\..\\admin", "#x"] {
        let callers = Callers::new();
        callers.finished(&format!("{NOBODY}{path}")).await;
        assert_eq!(callers.round().await, 1);
        // A call would have failed, and wait for its next try.
        assert_eq!(callers.worker.parked().await[0].1, "CALLBACK_REFUSED", "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ours_makes_nobody_call() {
    let callers = Callers::new();
    for body in ["nonsense".to_owned(), callback::seal(&CallbackMessage::default(), &strange())] {
        let stop = CancellationToken::new();
        let delivery = Delivery::new(body);
        let verdicts = batch::run(&callers.sender, vec![delivery], None, &stop).await;
        assert_eq!(verdicts, [Verdict::Ack]);
    }
    assert_eq!(callers.worker.parking.counts().visible, 2);
}

fn strange() -> queuebridge_proto::Keyring {
    queuebridge_proto::Keyring::single(&[9; 32])
}

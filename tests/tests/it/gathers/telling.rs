//! The worker of the callback queue, up to where it would tell somebody.

use super::world::{World, delivery};
use async_trait::async_trait;
use queuebridge_local::LoopbackOutbox;
use queuebridge_proto::callback;
use queuebridge_proto::v1::Announcement;
use queuebridge_proto::v1::callback_message::Kind;
use queuebridge_worker::outbox::{Outbox, OutboxError, Outgoing};
use queuebridge_worker::{Reason, Role, Runner, RunnerSettings, Verdict, batch};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

impl World {
    /// Takes what is due in the callback queue, timers too: whom it would tell, and how
    /// many messages came.
    pub(crate) async fn tell(&self) -> (Vec<String>, usize) {
        // Without a sender: what is to be told comes back.
        let settings = RunnerSettings { role: Role::Callbacks, ..RunnerSettings::default() };
        let outbox = Arc::new(LoopbackOutbox {
            source: self.callbacks.clone(),
            parking: self.parking.clone(),
            callbacks: self.callbacks.clone(),
        });
        let routes = tonic::service::Routes::default();
        let (store, keys) = (self.store.clone(), self.keys.clone());
        let runner = Runner::new(routes, store, None, outbox, keys, self.clock, settings);
        let (mut told, mut came) = (Vec::new(), 0);
        for message in self.callbacks.receive(10, Duration::ZERO).await.unwrap() {
            came += 1;
            let id = callback::open(&message.body, &self.keys).unwrap();
            let deliveries = vec![delivery(&message, &self.callbacks)];
            let stop = CancellationToken::new();
            match batch::run(&runner, deliveries, None, &stop).await.remove(0) {
                Verdict::Redeliver { after, reason: Reason::StoreUnavailable } => {
                    let receipt = &message.receipt_handle;
                    self.callbacks.change_visibility(receipt, after).unwrap();
                    continue;
                }
                Verdict::Redeliver { .. } => told.push(id.job_id),
                Verdict::Ack => assert_eq!(id.kind(), Kind::Timer, "nobody was told"),
            }
            self.callbacks.delete(&message.receipt_handle).unwrap();
        }
        (told, came)
    }

    /// As [`World::tell`], until nothing is due any more.
    pub(crate) async fn tell_all(&self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let (told, came) = self.tell().await;
            all.extend(told);
            if came == 0 {
                return all;
            }
        }
    }
}

/// Cannot reach the callback queue while it is deaf.
pub(crate) struct Deaf {
    pub(crate) inner: LoopbackOutbox,
    pub(crate) deaf: Arc<AtomicBool>,
}

#[async_trait]
impl Outbox for Deaf {
    async fn call_back(&self, message: Outgoing) -> Result<(), OutboxError> {
        if self.deaf.load(Ordering::Relaxed) {
            return Err(OutboxError::Unsent("down".into()));
        }
        self.inner.call_back(message).await
    }

    async fn resend(&self, to: &str, m: Outgoing, delay: Duration) -> Result<(), OutboxError> {
        self.inner.resend(to, m, delay).await
    }

    fn parks(&self) -> bool {
        self.inner.parks()
    }

    async fn park(&self, message: Outgoing) -> Result<(), OutboxError> {
        self.inner.park(message).await
    }

    async fn announce(&self, shard: &str, jobs: Vec<Announcement>) -> Result<(), OutboxError> {
        self.inner.announce(shard, jobs).await
    }
}

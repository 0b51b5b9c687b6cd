//! Everything that can fail between the parts, failing: in an order that a seed names.

use async_trait::async_trait;
use queuebridge_gateway::publish::{Limits, Message, PublishError, Publisher};
use queuebridge_local::LoopbackOutbox;
use queuebridge_proto::v1::Announcement;
use queuebridge_worker::outbox::{Outbox, OutboxError, Outgoing};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A small generator, so that a seed names a run.
pub(crate) struct Random(AtomicU64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        let step = |x: u64| {
            x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
        };
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |x| Some(step(x)));
        (step(before.unwrap_or_default()) >> 33) % bound
    }
}

/// A queue that sometimes takes a message twice, takes it without saying so, or
/// does not take it.
pub(crate) struct Unreliable {
    pub(crate) queue: Arc<dyn Publisher>,
    pub(crate) random: Random,
}

#[async_trait]
impl Publisher for Unreliable {
    fn limits(&self) -> Limits {
        self.queue.limits()
    }

    async fn publish(&self, batch: &[Message]) -> Vec<Result<(), PublishError>> {
        let mut answers = Vec::new();
        for message in batch {
            let one = std::slice::from_ref(message);
            answers.push(match self.random.below(8) {
                0 => {
                    self.queue.publish(one).await;
                    self.queue.publish(one).await.pop().unwrap()
                }
                1 => {
                    self.queue.publish(one).await;
                    Err(PublishError::Unknown("lost".into()))
                }
                2 => Err(PublishError::Unknown("lost".into())),
                3 => Err(PublishError::Retryable("throttled".into())),
                _ => self.queue.publish(one).await.pop().unwrap(),
            });
        }
        answers
    }
}

/// The same for what workers send.
pub(crate) struct UnreliableOutbox {
    pub(crate) inner: LoopbackOutbox,
    pub(crate) random: Random,
}

impl UnreliableOutbox {
    fn fault(&self) -> (bool, Result<(), OutboxError>) {
        match self.random.below(6) {
            0 => (false, Err(OutboxError::Unsent("lost".into()))),
            1 => (true, Err(OutboxError::Unsent("lost".into()))),
            _ => (true, Ok(())),
        }
    }
}

#[async_trait]
impl Outbox for UnreliableOutbox {
    async fn resend(
        &self,
        source: &str,
        message: Outgoing,
        delay: Duration,
    ) -> Result<(), OutboxError> {
        let (taken, answer) = self.fault();
        if taken {
            self.inner.resend(source, message, delay).await?;
        }
        answer
    }

    fn parks(&self) -> bool {
        true
    }

    async fn park(&self, message: Outgoing) -> Result<(), OutboxError> {
        let (taken, answer) = self.fault();
        if taken {
            self.inner.park(message).await?;
        }
        answer
    }

    async fn call_back(&self, message: Outgoing) -> Result<(), OutboxError> {
        let (taken, answer) = self.fault();
        if taken {
            self.inner.call_back(message).await?;
        }
        answer
    }

    async fn announce(&self, shard: &str, jobs: Vec<Announcement>) -> Result<(), OutboxError> {
        self.inner.announce(shard, jobs).await
    }
}

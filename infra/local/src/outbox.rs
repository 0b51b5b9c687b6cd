//! What the worker of this process sends: loopback queues as its outbox.

use crate::loopback::Loopback;
use async_trait::async_trait;
use queuebridge_gateway::publish::{Message, PublishError, Publisher};
use queuebridge_proto::v1::Announcement;
use queuebridge_worker::outbox::{Outbox, OutboxError, Outgoing};
use std::sync::Arc;
use std::time::Duration;

/// The name of the callback queue as a source of deliveries.
pub(crate) const CALLBACKS: &str = "callbacks";

/// The queues of a worker.
pub struct LoopbackOutbox {
    /// The queue of the jobs.
    pub source: Arc<Loopback>,
    /// Where failed messages wait for a person.
    pub parking: Arc<Loopback>,
    /// Where callbacks wait for their sender.
    pub callbacks: Arc<Loopback>,
}

#[async_trait]
impl Outbox for LoopbackOutbox {
    async fn resend(
        &self,
        source: &str,
        message: Outgoing,
        delay: Duration,
    ) -> Result<(), OutboxError> {
        let queue = if source == CALLBACKS { &self.callbacks } else { &self.source };
        send(queue, message, delay).await
    }

    fn parks(&self) -> bool {
        true
    }

    async fn park(&self, message: Outgoing) -> Result<(), OutboxError> {
        send(&self.parking, message, Duration::ZERO).await
    }

    async fn call_back(&self, message: Outgoing) -> Result<(), OutboxError> {
        send(&self.callbacks, message, Duration::ZERO).await
    }

    /// Nobody reads what is announced here.
    async fn announce(&self, _shard: &str, _jobs: Vec<Announcement>) -> Result<(), OutboxError> {
        Ok(())
    }
}

async fn send(queue: &Loopback, message: Outgoing, delay: Duration) -> Result<(), OutboxError> {
    let message = Message {
        body: message.body.as_ref().to_owned(),
        attributes: message.attributes,
        delay_seconds: u16::try_from(delay.as_millis().div_ceil(1000)).unwrap_or(u16::MAX),
        group_id: Some(message.group_id).filter(|group| !group.is_empty()),
        deduplication_id: None,
        trace_header: message.trace_header,
    };
    match queue.publish(&[message]).await.pop() {
        Some(Ok(())) => Ok(()),
        Some(Err(PublishError::TooLarge(why))) => Err(OutboxError::TooLarge(why)),
        Some(Err(error)) => Err(OutboxError::Unsent(error.to_string())),
        None => Err(OutboxError::Unsent("the queue gave no answer".to_owned())),
    }
}

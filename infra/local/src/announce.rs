//! Finished jobs are announced to those who wait, within this process.

use async_trait::async_trait;
use queuebridge_gateway::waiter::Waiter;
use queuebridge_proto::v1::Announcement;
use queuebridge_worker::outbox::{Outbox, OutboxError, Outgoing};
use std::sync::Arc;
use std::time::Duration;

/// The outbox of a worker whose gateway is in this process: announcements need no
/// queue.
pub(crate) struct Announcing {
    pub(crate) outbox: Arc<dyn Outbox>,
    pub(crate) waiter: Waiter,
}

#[async_trait]
impl Outbox for Announcing {
    async fn announce(&self, _shard: &str, jobs: Vec<Announcement>) -> Result<(), OutboxError> {
        jobs.into_iter().for_each(|job| self.waiter.announced(job));
        Ok(())
    }

    async fn call_back(&self, message: Outgoing) -> Result<(), OutboxError> {
        self.outbox.call_back(message).await
    }

    async fn resend(
        &self,
        source: &str,
        message: Outgoing,
        delay: Duration,
    ) -> Result<(), OutboxError> {
        self.outbox.resend(source, message, delay).await
    }

    fn parks(&self) -> bool {
        self.outbox.parks()
    }

    async fn park(&self, message: Outgoing) -> Result<(), OutboxError> {
        self.outbox.park(message).await
    }
}

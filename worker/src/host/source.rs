//! Where the long-poll loop receives from.

use crate::delivery::Delivery;
use async_trait::async_trait;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A queue, as the loop needs it. The loop is the same over SQS and over the
/// queue in this process, so that its promises can be tested in simulated time.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// What one receive of one message is settled with.
    type Receipt: Clone + Send + Sync + 'static;

    /// The most messages that one receive hands out.
    fn receive_max(&self) -> usize;

    /// Waits for messages, for some seconds, and hides the received ones for
    /// `visibility`. An empty answer is no error. Once `stopping` fires it returns
    /// as soon as it can without losing sight of a message.
    async fn receive(
        &self,
        max: usize,
        visibility: Duration,
        stopping: &CancellationToken,
    ) -> Result<Vec<Received<Self::Receipt>>, String>;

    /// Deletes messages. What cannot be deleted is received again and found
    /// finished: implementations log it.
    async fn delete(&self, receipts: Vec<Self::Receipt>);

    /// Hides messages for so long from now. What cannot be changed comes back at
    /// the end of its visibility: implementations log it.
    async fn change_visibility(&self, messages: Vec<(Self::Receipt, Duration)>);
}

/// A received message.
#[derive(Clone, Debug)]
pub struct Received<R> {
    /// What is run.
    pub delivery: Delivery,
    /// What it is settled with.
    pub receipt: R,
}

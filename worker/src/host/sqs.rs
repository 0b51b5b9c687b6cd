//! An SQS queue as a source.

use super::source::{Received, Source};
use super::{settle, sns};
use crate::delivery::Delivery;
use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName as Attribute};
use queuebridge_proto::envelope::attribute::PARKED;
use queuebridge_store::aws::long_poll;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Messages per receive call, which is SQS's limit.
const RECEIVE: usize = 10;
/// The longest long poll that SQS has.
pub const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// One SQS queue.
pub struct SqsSource {
    client: Client,
    /// The same, with the patience of a long poll.
    polling: Client,
    queue_url: Arc<str>,
    fifo: bool,
    wait: Duration,
}

/// One receive of a message.
#[derive(Clone, Debug)]
pub struct SqsReceipt {
    handle: String,
    at: Instant,
}

impl SqsSource {
    /// The queue of this URL. One whose name ends in `.fifo` is ordered. A receive waits
    /// `wait` for a first message: whole seconds, at most [`LONGEST_WAIT`].
    #[must_use]
    pub fn new(client: Client, queue_url: String, wait: Duration) -> Self {
        let fifo = queue_url.ends_with(".fifo");
        let polling = client.config().to_builder().timeout_config(long_poll(wait)).build();
        let polling = Client::from_conf(polling);
        Self { client, polling, queue_url: queue_url.into(), fifo, wait }
    }

    fn received(&self, message: Message, at: Instant) -> Option<Received<SqsReceipt>> {
        let mut attributes = message.attributes.unwrap_or_default();
        let mut attribute = |name| attributes.remove(&name);
        let receives = attribute(Attribute::ApproximateReceiveCount);
        let delivery = Delivery {
            receive_count: receives.and_then(|count| count.parse().ok()).unwrap_or(1),
            fifo_group: attribute(Attribute::MessageGroupId).filter(|_| self.fifo),
            source: self.queue_url.clone(),
            message_id: message.message_id,
            trace_header: attribute(Attribute::AwsTraceHeader),
            parked: message.message_attributes.is_some_and(|all| all.contains_key(PARKED)),
            pointer: None,
            body: sns::unwrapped(message.body.unwrap_or_default()),
        };
        // SQS always gives a receipt handle; without one nothing could be settled.
        Some(Received { delivery, receipt: SqsReceipt { handle: message.receipt_handle?, at } })
    }
}

#[async_trait]
impl Source for SqsSource {
    type Receipt = SqsReceipt;

    fn receive_max(&self) -> usize {
        RECEIVE
    }

    async fn receive(
        &self,
        max: usize,
        visibility: Duration,
        // A long poll that is abandoned goes on at the other side, and what it then
        // takes is hidden from everyone until its visibility ends. So a shutdown
        // waits for it.
        _stopping: &CancellationToken,
    ) -> Result<Vec<Received<SqsReceipt>>, String> {
        let call = self
            .polling
            .receive_message()
            .queue_url(&*self.queue_url)
            .max_number_of_messages(i32::try_from(max).unwrap_or(1))
            .visibility_timeout(super::visibility_seconds(visibility, Duration::ZERO))
            .wait_time_seconds(i32::try_from(self.wait.as_secs()).unwrap_or_default())
            .message_attribute_names(PARKED)
            .message_system_attribute_names(Attribute::ApproximateReceiveCount)
            .message_system_attribute_names(Attribute::AwsTraceHeader)
            .message_system_attribute_names(Attribute::MessageGroupId);
        match call.send().await {
            Ok(answer) => {
                let (messages, at) = (answer.messages.unwrap_or_default(), Instant::now());
                Ok(messages.into_iter().filter_map(|m| self.received(m, at)).collect())
            }
            Err(error) => Err(DisplayErrorContext(&error).to_string()),
        }
    }

    async fn delete(&self, receipts: Vec<SqsReceipt>) {
        let handles: Vec<String> = receipts.into_iter().map(|receipt| receipt.handle).collect();
        settle::delete(&self.client, &self.queue_url, &handles).await;
    }

    async fn change_visibility(&self, messages: Vec<(SqsReceipt, Duration)>) {
        let later = |(receipt, after): (SqsReceipt, Duration)| {
            (receipt.handle, super::visibility_seconds(after, receipt.at.elapsed()))
        };
        let messages: Vec<_> = messages.into_iter().map(later).collect();
        settle::change_visibility(&self.client, &self.queue_url, &messages).await;
    }
}

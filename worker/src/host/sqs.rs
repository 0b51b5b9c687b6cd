//! An SQS queue as a source.

use super::settle;
use super::source::{Received, Source};
use crate::delivery::Delivery;
use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName as Attribute};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Messages per receive call, which is SQS's limit.
const RECEIVE: usize = 10;
/// The longest long poll that SQS has.
const WAIT_SECONDS: i32 = 20;

/// One SQS queue.
pub struct SqsSource {
    client: Client,
    queue_url: String,
    fifo: bool,
}

impl SqsSource {
    /// The queue of this URL. One whose name ends in `.fifo` is ordered.
    #[must_use]
    pub fn new(client: Client, queue_url: String) -> Self {
        let fifo = queue_url.ends_with(".fifo");
        Self { client, queue_url, fifo }
    }

    fn received(&self, message: Message) -> Option<Received<String>> {
        let attribute = |name| message.attributes.as_ref().and_then(|all| all.get(&name).cloned());
        let receives = attribute(Attribute::ApproximateReceiveCount);
        let delivery = Delivery {
            receive_count: receives.and_then(|count| count.parse().ok()).unwrap_or(1),
            fifo_group: attribute(Attribute::MessageGroupId).filter(|_| self.fifo),
            body: message.body.unwrap_or_default().into(),
        };
        // SQS always gives a receipt handle; without one nothing could be settled.
        Some(Received { delivery, receipt: message.receipt_handle? })
    }
}

#[async_trait]
impl Source for SqsSource {
    type Receipt = String;

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
    ) -> Result<Vec<Received<String>>, String> {
        let call = self
            .client
            .receive_message()
            .queue_url(&self.queue_url)
            .max_number_of_messages(i32::try_from(max).unwrap_or(1))
            .visibility_timeout(super::visibility_seconds(visibility))
            .wait_time_seconds(WAIT_SECONDS)
            .message_system_attribute_names(Attribute::ApproximateReceiveCount)
            .message_system_attribute_names(Attribute::MessageGroupId);
        match call.send().await {
            Ok(answer) => {
                let messages = answer.messages.unwrap_or_default();
                Ok(messages.into_iter().filter_map(|m| self.received(m)).collect())
            }
            Err(error) => Err(DisplayErrorContext(&error).to_string()),
        }
    }

    async fn delete(&self, receipts: Vec<String>) {
        settle::delete(&self.client, &self.queue_url, &receipts).await;
    }

    async fn change_visibility(&self, messages: Vec<(String, Duration)>) {
        settle::change_visibility(&self.client, &self.queue_url, &messages).await;
    }
}

//! Publishing to an SQS queue.

use super::classify::{self, Results};
use super::size::{self, SizeLimit};
use super::{Limits, Message, PublishError, Publisher};
use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::error::BuildError;
use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
    QueueAttributeName, SendMessageBatchRequestEntry,
};
use queuebridge_proto::envelope::attribute;
use queuebridge_store::aws::publishing;
use std::collections::HashMap;
use std::sync::Arc;

/// SQS takes this much per message and per call, unless the queue has a smaller
/// `MaximumMessageSize`.
const BYTES: usize = 1024 * 1024;

/// A call takes tens of milliseconds and carries ten messages: sixteen at once
/// are several thousand messages per second and queue, more than the gateway
/// itself can do, and few enough connections to keep them all warm.
const CONCURRENCY: usize = 16;

/// Publishes to one queue with `SendMessageBatch`.
#[derive(Clone, Debug)]
pub struct SqsPublisher {
    client: Client,
    queue_url: String,
    size: Arc<SizeLimit>,
}

impl SqsPublisher {
    /// A publisher to the queue of this URL.
    ///
    /// The SDK's own retries are turned off: after a lost response a retry that
    /// is refused would hide that the first attempt may have been taken.
    #[must_use]
    pub fn new(client: Client, queue_url: String) -> Self {
        let config = client.config().to_builder();
        let config = config.retry_config(RetryConfig::disabled()).timeout_config(publishing());
        let size = Arc::new(SizeLimit::new(&queue_url, BYTES));
        Self { client: Client::from_conf(config.build()), queue_url, size }
    }

    fn fifo(&self) -> bool {
        self.queue_url.ends_with(".fifo")
    }

    async fn send(&self, batch: &[Message]) -> Vec<Result<(), PublishError>> {
        let fifo = self.fifo();
        let entries: Result<Vec<_>, BuildError> =
            batch.iter().enumerate().map(|(index, message)| entry(index, message, fifo)).collect();
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return vec![Err(PublishError::Refused(error.to_string())); batch.len()],
        };
        let call = self.client.send_message_batch().queue_url(&self.queue_url);
        match call.set_entries(Some(entries)).send().await {
            Ok(answer) => {
                let mut results = Results::new(batch.len());
                answer.successful().iter().for_each(|entry| results.taken(Some(entry.id())));
                for entry in answer.failed() {
                    results.failed(entry.id(), entry.sender_fault(), entry.code(), entry.message());
                }
                results.finish()
            }
            Err(error) => vec![Err(classify::call(&error)); batch.len()],
        }
    }
}

#[async_trait]
impl Publisher for SqsPublisher {
    fn limits(&self) -> Limits {
        Limits {
            batch_entries: 10,
            batch_bytes: self.size.batch(),
            message_bytes: self.size.message(),
            fifo: self.fifo(),
            concurrency: CONCURRENCY,
        }
    }

    async fn learn_limits(&self) {
        let attribute = QueueAttributeName::MaximumMessageSize;
        let call = self.client.get_queue_attributes().queue_url(&self.queue_url);
        match call.attribute_names(attribute.clone()).send().await {
            Ok(answer) => {
                let value = answer.attributes().and_then(|all| all.get(&attribute));
                self.size.read(value.map(String::as_str));
            }
            Err(error) => self.size.unread(&classify::chain(&error)),
        }
    }

    async fn publish(&self, batch: &[Message]) -> Vec<Result<(), PublishError>> {
        let answers = self.send(batch).await;
        if let Some((index, error)) = size::refusal(&answers) {
            self.learn_limits().await;
            self.size.refused(size::refused_part(batch, &answers, index), error);
        }
        answers
    }
}

fn entry(
    index: usize,
    message: &Message,
    fifo: bool,
) -> Result<SendMessageBatchRequestEntry, BuildError> {
    let mut attributes = HashMap::with_capacity(message.attributes.len());
    for (name, value) in &message.attributes {
        let data_type = attribute::data_type(name);
        let value =
            MessageAttributeValue::builder().data_type(data_type).string_value(value).build()?;
        attributes.insert((*name).to_owned(), value);
    }
    let mut entry = SendMessageBatchRequestEntry::builder()
        .id(index.to_string())
        .message_body(&message.body)
        .set_message_attributes((!attributes.is_empty()).then_some(attributes))
        .set_message_group_id(message.group_id.clone());
    if fifo {
        // A FIFO queue refuses a delay, and a standard one this id.
        entry = entry.set_message_deduplication_id(message.deduplication_id.clone());
    } else if message.delay_seconds > 0 {
        entry = entry.delay_seconds(i32::from(message.delay_seconds));
    }
    if let Some(trace) = &message.trace_header {
        let value = MessageSystemAttributeValue::builder()
            .data_type("String")
            .string_value(trace)
            .build()?;
        entry = entry
            .message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, value);
    }
    entry.build()
}

#[cfg(test)]
mod tests;

//! Publishing to an SNS topic.

use super::classify::{self, Results};
use super::size::{self, SizeLimit};
use super::{Limits, Message, PublishError, Publisher};
use async_trait::async_trait;
use aws_sdk_sns::Client;
use aws_sdk_sns::config::retry::RetryConfig;
use aws_sdk_sns::error::BuildError;
use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};
use queuebridge_proto::envelope::attribute;
use queuebridge_store::aws::publishing;
use std::collections::HashMap;
use std::sync::Arc;

/// How AWS names the trace of an HTTP request.
const TRACE_HEADER: &str = "x-amzn-trace-id";

/// SNS takes this much per message and per call, unless the topic has another
/// `MaximumMessageSize`. A smaller one counts. A larger one does not: the queues
/// behind the topic may be from before August 2025 and take no more either.
const BYTES: usize = 256 * 1024;
/// The attribute's name.
const MAXIMUM: &str = "MaximumMessageSize";

/// As for a queue: a call takes tens of milliseconds and carries ten messages.
const CONCURRENCY: usize = 16;

/// Publishes to one topic with `PublishBatch`.
///
/// SNS takes no delay, and a trace header only for a whole call and not for one
/// message of it: both are left out.
#[derive(Clone, Debug)]
pub struct SnsPublisher {
    client: Client,
    topic_arn: String,
    size: Arc<SizeLimit>,
}

impl SnsPublisher {
    /// A publisher to the topic of this ARN. The SDK's own retries are turned
    /// off, as in [`super::sqs::SqsPublisher::new`].
    #[must_use]
    pub fn new(client: Client, topic_arn: String) -> Self {
        let config = client.config().to_builder();
        let config = config.retry_config(RetryConfig::disabled()).timeout_config(publishing());
        let size = Arc::new(SizeLimit::new(&topic_arn, BYTES));
        Self { client: Client::from_conf(config.build()), topic_arn, size }
    }

    fn fifo(&self) -> bool {
        self.topic_arn.ends_with(".fifo")
    }

    async fn send(&self, batch: &[Message]) -> Vec<Result<(), PublishError>> {
        let fifo = self.fifo();
        let entries: Result<Vec<_>, BuildError> =
            batch.iter().enumerate().map(|(index, message)| entry(index, message, fifo)).collect();
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return vec![Err(PublishError::Refused(error.to_string())); batch.len()],
        };
        let call = self.client.publish_batch().topic_arn(&self.topic_arn);
        let call = call.set_publish_batch_request_entries(Some(entries)).customize();
        let trace = shared_trace(batch);
        let call = call.mutate_request(move |request| {
            if let Some(trace) = &trace {
                request.headers_mut().insert(TRACE_HEADER, trace.clone());
            }
        });
        match call.send().await {
            Ok(answer) => {
                let mut results = Results::new(batch.len());
                answer.successful().iter().for_each(|entry| results.taken(entry.id()));
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
impl Publisher for SnsPublisher {
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
        match self.client.get_topic_attributes().topic_arn(&self.topic_arn).send().await {
            Ok(answer) => {
                let value = answer.attributes().and_then(|all| all.get(MAXIMUM));
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

/// The trace of a call is that of its messages, if they have one in common: a topic takes
/// it from the call, and hands it on to its queues as `AWSTraceHeader`.
fn shared_trace(batch: &[Message]) -> Option<String> {
    let first = batch.first()?.trace_header.as_ref()?;
    let all = batch.iter().all(|message| message.trace_header.as_ref() == Some(first));
    all.then(|| first.clone())
}

fn entry(
    index: usize,
    message: &Message,
    fifo: bool,
) -> Result<PublishBatchRequestEntry, BuildError> {
    let mut attributes = HashMap::with_capacity(message.attributes.len());
    for (name, value) in &message.attributes {
        let data_type = attribute::data_type(name);
        let value =
            MessageAttributeValue::builder().data_type(data_type).string_value(value).build()?;
        attributes.insert((*name).to_owned(), value);
    }
    let mut entry = PublishBatchRequestEntry::builder()
        .id(index.to_string())
        .message(&message.body)
        .set_message_attributes((!attributes.is_empty()).then_some(attributes))
        // A standard topic hands it on to the fair queues behind it.
        .set_message_group_id(message.group_id.clone());
    if fifo {
        entry = entry.set_message_deduplication_id(message.deduplication_id.clone());
    }
    entry.build()
}

#[cfg(test)]
mod tests;

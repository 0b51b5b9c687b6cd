//! Sending to SQS queues.

use super::urls::QueueUrls;
use crate::outbox::{Outbox, OutboxError, Outgoing};
use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
};
use std::time::Duration;

/// The queues of an account, and one of them to park in.
pub struct SqsOutbox {
    client: Client,
    urls: QueueUrls,
    parking: Option<String>,
}

impl SqsOutbox {
    /// An outbox that parks in the standard queue of the URL `parking`.
    #[must_use]
    pub fn new(client: Client, parking: Option<String>) -> Self {
        Self { urls: QueueUrls::new(client.clone()), client, parking }
    }

    async fn send(&self, url: &str, message: Outgoing, delay: Duration) -> Result<(), OutboxError> {
        // Whole seconds, rounded up, but never more than SQS takes.
        let delay = delay.as_millis().div_ceil(1000).min(900);
        let mut call = self
            .client
            .send_message()
            .queue_url(url)
            .message_body(&*message.body)
            .delay_seconds(i32::try_from(delay).unwrap_or(900));
        if !message.group_id.is_empty() {
            call = call.message_group_id(message.group_id);
        }
        for (name, value) in message.attributes {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value);
            call = call.message_attributes(name, value.build().map_err(failed)?);
        }
        if let Some(trace) = message.trace_header {
            let value = MessageSystemAttributeValue::builder().data_type("String");
            let value = value.string_value(trace).build().map_err(failed)?;
            let name = MessageSystemAttributeNameForSends::AwsTraceHeader;
            call = call.message_system_attributes(name, value);
        }
        call.send().await.map_err(failed)?;
        Ok(())
    }
}

#[async_trait]
impl Outbox for SqsOutbox {
    async fn resend(
        &self,
        source: &str,
        message: Outgoing,
        delay: Duration,
    ) -> Result<(), OutboxError> {
        let url = self.urls.of(source).await.map_err(OutboxError)?;
        self.send(&url, message, delay).await
    }

    fn parks(&self) -> bool {
        self.parking.is_some()
    }

    async fn park(&self, message: Outgoing) -> Result<(), OutboxError> {
        match &self.parking {
            Some(url) => self.send(url, message, Duration::ZERO).await,
            None => Err(OutboxError("there is no parking queue".to_owned())),
        }
    }
}

fn failed<E: std::error::Error>(error: E) -> OutboxError {
    OutboxError(DisplayErrorContext(error).to_string())
}

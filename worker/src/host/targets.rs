//! Queues and topics that are told of finished jobs.

use super::outbox::refused;
use crate::outbox::OutboxError;
use aws_sdk_sns::types::MessageAttributeValue as SnsValue;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::MessageAttributeValue as SqsValue;

/// The queues and topics of an account, as far as the role of this process reaches.
#[derive(Clone, Debug)]
pub struct NamedTargets {
    sqs: aws_sdk_sqs::Client,
    sns: aws_sdk_sns::Client,
}

impl NamedTargets {
    /// Over these clients.
    #[must_use]
    pub fn new(sqs: aws_sdk_sqs::Client, sns: aws_sdk_sns::Client) -> Self {
        Self { sqs, sns }
    }

    pub(crate) async fn to_queue(
        &self,
        url: &str,
        body: &str,
        attributes: &[(&'static str, String)],
    ) -> Result<(), OutboxError> {
        let mut call = self.sqs.send_message().queue_url(url).message_body(body);
        for (name, value) in attributes {
            let value = SqsValue::builder().data_type("String").string_value(value).build();
            call = call.message_attributes(*name, value.map_err(failed)?);
        }
        call.send().await.map_err(refused)?;
        Ok(())
    }

    pub(crate) async fn to_topic(
        &self,
        arn: &str,
        body: &str,
        attributes: &[(&'static str, String)],
    ) -> Result<(), OutboxError> {
        let mut call = self.sns.publish().topic_arn(arn).message(body);
        for (name, value) in attributes {
            let value = SnsValue::builder().data_type("String").string_value(value).build();
            call = call.message_attributes(*name, value.map_err(failed)?);
        }
        call.send().await.map_err(refused)?;
        Ok(())
    }
}

fn failed<E: std::error::Error>(error: E) -> OutboxError {
    OutboxError::Unsent(DisplayErrorContext(error).to_string())
}

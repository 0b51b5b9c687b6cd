//! Sending to SQS queues.

use super::urls::QueueUrls;
use crate::outbox::{Outbox, OutboxError, Outgoing};
use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
};
use prost::Message;
use queuebridge_proto::v1::{Announcement, Announcements};
use queuebridge_store::Seal;
use queuebridge_store::aws::is_too_large;
use std::time::Duration;

/// The largest job that is announced with its outcome: a larger one is fetched from
/// the store by the one who waits for it.
const ANNOUNCED_BYTES: usize = 16 * 1024;
/// The announcements of one message. SQS charges a request for each 64 KB, and
/// Base64 makes four bytes of three.
const MESSAGE_BYTES: usize = 46 * 1024;

/// The queues of an account.
pub struct SqsOutbox {
    client: Client,
    urls: QueueUrls,
    queues: Queues,
    seal: Seal,
}

/// The URLs of the standard queues that a worker sends to; none where it does not.
#[derive(Clone, Debug, Default)]
pub struct Queues {
    /// Where messages that failed for good wait for a person.
    pub parking: Option<String>,
    /// Where callbacks wait for their sender.
    pub callbacks: Option<String>,
}

impl SqsOutbox {
    /// An outbox to these queues, which seals announcements as envelopes are.
    #[must_use]
    pub fn new(client: Client, queues: Queues, seal: impl Into<Seal>) -> Self {
        Self { urls: QueueUrls::new(client.clone()), client, queues, seal: seal.into() }
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
        call.send().await.map_err(refused)?;
        Ok(())
    }

    /// What the reply queue does not take in one message goes in several, and at last
    /// without its outcome.
    async fn announce_in_parts(
        &self,
        shard: &str,
        jobs: Vec<Announcement>,
    ) -> Result<(), OutboxError> {
        let mut parts = vec![jobs];
        while let Some(mut jobs) = parts.pop() {
            let sealed = self.seal.seal(&Announcements { jobs: jobs.clone() }).await;
            let body = sealed.map_err(|error| OutboxError::Unsent(error.to_string()))?;
            let call = self.client.send_message().queue_url(shard).message_body(body);
            match call.send().await.map_err(refused) {
                Ok(_) => {}
                Err(OutboxError::TooLarge(_)) if jobs.len() > 1 => {
                    parts.push(jobs.split_off(jobs.len() / 2));
                    parts.push(jobs);
                }
                Err(OutboxError::TooLarge(_)) if jobs.iter().any(|job| job.finished.is_some()) => {
                    jobs.iter_mut().for_each(|job| job.finished = None);
                    parts.push(jobs);
                }
                Err(error) => return Err(error),
            }
        }
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
        let url = self.urls.of(source).await.map_err(OutboxError::Unsent)?;
        self.send(&url, message, delay).await
    }

    fn parks(&self) -> bool {
        self.queues.parking.is_some()
    }

    async fn park(&self, message: Outgoing) -> Result<(), OutboxError> {
        match &self.queues.parking {
            Some(url) => self.send(url, message, Duration::ZERO).await,
            None => Err(OutboxError::Unsent("there is no parking queue".to_owned())),
        }
    }

    async fn call_back(&self, message: Outgoing) -> Result<(), OutboxError> {
        match &self.queues.callbacks {
            Some(url) => self.send(url, message, Duration::ZERO).await,
            None => Err(OutboxError::Unsent("there is no callback queue".to_owned())),
        }
    }

    async fn announce(&self, shard: &str, jobs: Vec<Announcement>) -> Result<(), OutboxError> {
        for jobs in in_messages(jobs) {
            self.announce_in_parts(shard, jobs).await?;
        }
        Ok(())
    }
}

/// As few messages as possible, none larger than one request is charged for.
fn in_messages(jobs: Vec<Announcement>) -> Vec<Vec<Announcement>> {
    let (mut messages, mut size) = (vec![Vec::new()], 0);
    for mut job in jobs {
        if job.encoded_len() > ANNOUNCED_BYTES {
            job.finished = None;
        }
        let len = job.encoded_len() + 4;
        if size + len > MESSAGE_BYTES {
            messages.push(Vec::new());
            size = 0;
        }
        size += len;
        if let Some(message) = messages.last_mut() {
            message.push(job);
        }
    }
    messages
}

/// What an answer of SQS or SNS means for the message.
pub(super) fn refused<E>(error: SdkError<E, HttpResponse>) -> OutboxError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let about = error.as_service_error().map(ProvideErrorMetadata::meta);
    let too_large =
        about.is_some_and(|meta| is_too_large(meta.code().unwrap_or(""), meta.message()));
    let text = DisplayErrorContext(error).to_string();
    if too_large { OutboxError::TooLarge(text) } else { OutboxError::Unsent(text) }
}

fn failed<E: std::error::Error>(error: E) -> OutboxError {
    OutboxError::Unsent(DisplayErrorContext(error).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use queuebridge_proto::v1::{FinishedJob, Outcome, outcome};
    use queuebridge_proto::{Keyring, reply};

    fn job(bytes: usize) -> Announcement {
        let response = outcome::Result::Response(vec![0; bytes].into());
        let outcome = Outcome { result: Some(response), ..Outcome::default() };
        let finished = FinishedJob { outcome: Some(outcome), ..FinishedJob::default() };
        let job = vec![0; 16].into();
        Announcement { job, finished: Some(finished), ..Announcement::default() }
    }

    #[test]
    fn a_message_keeps_to_what_one_request_is_charged_for() {
        let messages = in_messages(vec![job(9_000); 100]);
        assert!(messages.len() < 30, "{}", messages.len());
        assert_eq!(messages.iter().map(Vec::len).sum::<usize>(), 100);
        for jobs in messages {
            let body = reply::seal(&Announcements { jobs }, &Keyring::single(&[1; 32]));
            assert!(body.len() <= 64 * 1024, "{}", body.len());
        }
    }

    #[test]
    fn a_large_outcome_stays_in_the_store() {
        let messages = in_messages(vec![job(16 * 1024), job(10)]);
        assert_eq!(messages.len(), 1);
        assert!(messages[0][0].finished.is_none() && messages[0][1].finished.is_some());
    }
}

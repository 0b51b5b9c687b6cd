//! Reading a reply shard, which is an SQS queue.

use crate::waiter::Waiter;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message};
use queuebridge_proto::v1::Announcements;
use queuebridge_store::Seal;
use queuebridge_store::aws::long_poll;
use std::time::Duration;
use tokio::time::sleep;

/// The longest long poll that SQS has.
const WAIT_SECONDS: u8 = 20;
/// What the poll of a dead gateway has taken is seen by the next one soon.
const VISIBILITY_SECONDS: i32 = 10;
const BACKOFF: Duration = Duration::from_secs(1);

/// Hands what comes out of the queue of this URL to those who wait, for ever.
pub async fn read(client: Client, url: String, seal: Seal, waiter: Waiter) {
    let patience = long_poll(Duration::from_secs(WAIT_SECONDS.into()));
    let polling = client.config().to_builder().timeout_config(patience).build();
    let polling = Client::from_conf(polling);
    loop {
        let call = polling
            .receive_message()
            .queue_url(&url)
            .max_number_of_messages(10)
            .wait_time_seconds(WAIT_SECONDS.into())
            .visibility_timeout(VISIBILITY_SECONDS);
        match call.send().await {
            Ok(received) => {
                let messages = received.messages.unwrap_or_default();
                for message in &messages {
                    hand_over(message, &seal, &waiter).await;
                }
                if !messages.is_empty() {
                    // Nobody waits for that: what is left over is old news.
                    tokio::spawn(delete(client.clone(), url.clone(), messages));
                }
            }
            Err(error) => {
                let error = DisplayErrorContext(error);
                tracing::warn!(%error, "a reply shard could not be read");
                sleep(BACKOFF).await;
            }
        }
    }
}

async fn hand_over(message: &Message, seal: &Seal, waiter: &Waiter) {
    let body = message.body.as_deref().unwrap_or_default();
    match seal.open::<Announcements>(body).await {
        Ok(announcements) => announcements.jobs.into_iter().for_each(|job| waiter.announced(job)),
        // Ours or not, it can only be dropped: whoever waits looks by themselves.
        Err(error) => tracing::warn!(%error, "a message on a reply shard was not opened"),
    }
}

async fn delete(client: Client, url: String, messages: Vec<Message>) {
    let entry = |(index, message): (usize, Message)| {
        DeleteMessageBatchRequestEntry::builder()
            .id(index.to_string())
            .receipt_handle(message.receipt_handle.unwrap_or_default())
            .build()
            .ok()
    };
    let entries = messages.into_iter().enumerate().filter_map(entry).collect();
    let call = client.delete_message_batch().queue_url(url).set_entries(Some(entries));
    if let Err(error) = call.send().await {
        let error = DisplayErrorContext(error);
        tracing::warn!(%error, "announcements were not deleted");
    }
}

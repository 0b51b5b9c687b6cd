//! Settling messages of an SQS queue, ten in a call.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
};
use std::time::Duration;
use tokio::time::sleep;

/// Entries per call.
const BATCH: usize = 10;
const TRIES: u32 = 3;
const BACKOFF: Duration = Duration::from_millis(100);

/// Deletes messages. A message that cannot be deleted is received again, found
/// finished, and deleted then: it is logged and not an error.
pub(super) async fn delete(client: &Client, queue_url: &str, receipts: &[String]) {
    for receipts in receipts.chunks(BATCH) {
        let mut left: Vec<&String> = receipts.iter().collect();
        for attempt in 0..TRIES {
            let entries = left.iter().enumerate().filter_map(|(index, receipt)| {
                DeleteMessageBatchRequestEntry::builder()
                    .id(index.to_string())
                    .receipt_handle(*receipt)
                    .build()
                    .ok()
            });
            let call = client.delete_message_batch().queue_url(queue_url);
            match call.set_entries(Some(entries.collect())).send().await {
                Ok(answer) => left = failed(&left, answer.failed()),
                Err(error) => {
                    tracing::warn!(error = %DisplayErrorContext(&error), "messages were not deleted");
                }
            }
            if left.is_empty() {
                break;
            }
            sleep(BACKOFF * 2u32.pow(attempt)).await;
        }
        if !left.is_empty() {
            tracing::warn!(count = left.len(), "finished messages will be received again");
        }
    }
}

/// Makes messages visible again after so many seconds. One that cannot be changed comes
/// back when its visibility time-out ends: it is logged and not an error.
pub(super) async fn change_visibility(
    client: &Client,
    queue_url: &str,
    messages: &[(String, i32)],
) {
    for messages in messages.chunks(BATCH) {
        let entries = messages.iter().enumerate().filter_map(|(index, (receipt, after))| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(receipt)
                .visibility_timeout(*after)
                .build()
                .ok()
        });
        let call = client.change_message_visibility_batch().queue_url(queue_url);
        match call.set_entries(Some(entries.collect())).send().await {
            Ok(answer) => {
                for entry in answer.failed() {
                    let (code, message) = (entry.code(), entry.message());
                    tracing::warn!(code, message, "a message's visibility was not changed");
                }
            }
            Err(error) => {
                let error = DisplayErrorContext(&error);
                tracing::warn!(%error, "the visibility of messages was not changed");
            }
        }
    }
}

fn failed<'a>(sent: &[&'a String], failed: &[BatchResultErrorEntry]) -> Vec<&'a String> {
    failed.iter().filter_map(|entry| sent.get(entry.id().parse::<usize>().ok()?).copied()).collect()
}

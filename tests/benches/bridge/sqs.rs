//! The bare AWS SDK: what sending costs without a bridge.

use crate::Failure;
use crate::grpc::payload;
use crate::load::Caller;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use queuebridge_tests::emulator::unique;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Messages per queue, after which the next one is taken: emulators slow down
/// badly over some tens of thousands in one queue.
const PER_QUEUE: usize = 30_000;
/// Entries of a full batch.
const BATCH: usize = 10;

/// Queues that are used one after the other; from the last, back to the first.
pub(crate) struct Queues<Q> {
    queues: Vec<Q>,
    sent: AtomicUsize,
}

impl<Q> Queues<Q> {
    /// At least one queue.
    pub(crate) fn new(queues: Vec<Q>) -> Self {
        Self { queues, sent: AtomicUsize::new(0) }
    }

    pub(crate) fn first(&self) -> &Q {
        &self.queues[0]
    }

    /// Where the next so many messages go.
    pub(crate) fn next(&self, messages: usize) -> &Q {
        let sent = self.sent.fetch_add(messages, Ordering::Relaxed);
        &self.queues[sent / PER_QUEUE % self.queues.len()]
    }
}

/// Makes empty queues, enough for so many messages.
pub(crate) async fn create(client: &Client, messages: usize) -> Result<Vec<String>, Failure> {
    let mut urls = Vec::new();
    for _ in 0..=messages / PER_QUEUE {
        let made = client.create_queue().queue_name(unique("bench")).send().await;
        let made = made.map_err(|error| DisplayErrorContext(error).to_string())?;
        urls.push(made.queue_url.ok_or("a queue without a URL")?);
    }
    Ok(urls)
}

/// Deletes queues with what is in them.
pub(crate) async fn delete(client: &Client, urls: &[String]) -> Result<(), Failure> {
    for url in urls {
        let deleted = client.delete_queue().queue_url(url).send().await;
        deleted.map_err(|error| DisplayErrorContext(error).to_string())?;
    }
    Ok(())
}

/// A loop of SendMessage, or of full SendMessageBatch.
pub(crate) struct Sender {
    pub(crate) client: Client,
    pub(crate) queues: Arc<Queues<String>>,
    pub(crate) batched: bool,
}

impl Caller for Sender {
    async fn call(&mut self) -> Result<u64, String> {
        // A job has to be made into text as well.
        let body = || STANDARD.encode(payload());
        if !self.batched {
            let call = self.client.send_message().queue_url(self.queues.next(1));
            let sent = call.message_body(body()).send().await;
            return sent.map(|_| 1).map_err(|error| DisplayErrorContext(error).to_string());
        }
        let entry = |index: usize| {
            SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(body())
                .build()
        };
        let entries: Result<Vec<_>, _> = (0..BATCH).map(entry).collect();
        let entries = entries.map_err(|error| error.to_string())?;
        let call = self.client.send_message_batch().queue_url(self.queues.next(BATCH));
        let sent = call.set_entries(Some(entries)).send().await;
        let sent = sent.map_err(|error| DisplayErrorContext(error).to_string())?;
        Ok(sent.successful().len() as u64)
    }
}

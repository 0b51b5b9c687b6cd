//! The parking queue: the one file of a replay that knows SQS.

use super::parked::Parked;
use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, Message, MessageAttributeValue,
    MessageSystemAttributeName as Attribute,
};
use futures_util::{StreamExt, stream};
use queuebridge_proto::envelope::attribute::{JOB, METHOD, VERSION};
use queuebridge_proto::{UnixMillis, envelope};
use std::collections::HashMap;

/// Messages per call, which is SQS's limit.
const BATCH: usize = 10;
/// How long a received message is hidden. Longer than ten messages can take with
/// every retry, and than a pass over a full window takes; short enough to wait
/// for after a crash.
const HIDDEN_SECONDS: i32 = 600;
/// A long poll asks every server of the queue, a short one only some. The end of
/// every replay waits this long.
const WAIT_SECONDS: i32 = 2;
/// Calls at once when messages are made visible again.
const RELEASES: usize = 8;

/// The parking queue.
#[derive(Clone, Debug)]
pub(super) struct ParkingQueue {
    client: Client,
    url: String,
}

/// A received message.
#[derive(Clone, Debug)]
pub(super) struct Received {
    /// The id that the queue gave to it.
    pub(super) message_id: String,
    /// For settling it.
    pub(super) receipt: String,
    /// Its body.
    pub(super) body: String,
    /// When it was sent to this queue.
    pub(super) sent_at: Option<UnixMillis>,
    /// Its text attributes.
    pub(super) attributes: HashMap<String, String>,
}

impl ParkingQueue {
    /// The queue of this URL.
    pub(super) fn new(sdk: &SdkConfig, url: String) -> Self {
        Self { client: Client::new(sdk), url }
    }

    /// Whether it keeps the order of a group.
    pub(super) fn is_fifo(&self) -> bool {
        self.url.ends_with(".fifo")
    }

    /// Up to ten messages, hidden from everyone else for ten minutes; none when
    /// no server of the queue has a visible one.
    ///
    /// # Errors
    /// When the queue cannot be read.
    pub(super) async fn receive(&self) -> Result<Vec<Received>, String> {
        let call = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(10)
            .visibility_timeout(HIDDEN_SECONDS)
            .wait_time_seconds(WAIT_SECONDS)
            .message_attribute_names("All")
            .message_system_attribute_names(Attribute::SentTimestamp);
        let answer = call.send().await.map_err(|error| self.failed("read", error))?;
        Ok(answer.messages.unwrap_or_default().into_iter().filter_map(received).collect())
    }

    /// Sends the body of a message of this queue to another one, as it was.
    ///
    /// # Errors
    /// When that did not say that it has taken it.
    pub(super) async fn send_to(&self, url: &str, body: &str, of: &Parked) -> Result<(), String> {
        let mut call = self.client.send_message().queue_url(url).message_body(body);
        let version = envelope::MAJOR.to_string();
        for (name, value) in [(VERSION, &version), (METHOD, &of.method), (JOB, &of.job)] {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value);
            call = call.message_attributes(name, value.build().map_err(|e| e.to_string())?);
        }
        call.send().await.map(drop).map_err(|error| DisplayErrorContext(&error).to_string())
    }

    /// Deletes a message.
    ///
    /// # Errors
    /// When the queue did not say that it is deleted.
    pub(super) async fn delete(&self, receipt: &str) -> Result<(), String> {
        let call = self.client.delete_message().queue_url(&self.url).receipt_handle(receipt);
        call.send().await.map(drop).map_err(|error| DisplayErrorContext(&error).to_string())
    }

    /// Makes messages visible again. Says how many stay hidden until their ten
    /// minutes are over, because they could not be changed.
    pub(super) async fn release(&self, receipts: Vec<String>) -> usize {
        let batches = receipts.chunks(BATCH).map(|batch| self.release_batch(batch));
        stream::iter(batches).buffer_unordered(RELEASES).fold(0, async |sum, n| sum + n).await
    }

    async fn release_batch(&self, receipts: &[String]) -> usize {
        let entries = receipts.iter().enumerate().filter_map(|(index, receipt)| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(receipt)
                .visibility_timeout(0)
                .build()
                .ok()
        });
        let call = self.client.change_message_visibility_batch().queue_url(&self.url);
        match call.set_entries(Some(entries.collect())).send().await {
            Ok(answer) => answer.failed().len(),
            Err(_) => receipts.len(),
        }
    }

    fn failed(&self, what: &str, error: impl std::error::Error) -> String {
        format!("{} cannot be {what}: {}", self.url, DisplayErrorContext(&error))
    }
}

/// SQS always gives an id and a receipt; without them a message could not be
/// told from others or settled, and comes back by itself.
fn received(message: Message) -> Option<Received> {
    let sent = message.attributes.as_ref().and_then(|all| all.get(&Attribute::SentTimestamp));
    let sent_at = sent.and_then(|millis| millis.parse().ok()).map(UnixMillis);
    let attributes = message.message_attributes.unwrap_or_default().into_iter();
    Some(Received {
        message_id: message.message_id?,
        receipt: message.receipt_handle?,
        body: message.body.unwrap_or_default(),
        sent_at,
        attributes: attributes.filter_map(|(name, v)| Some((name, v.string_value?))).collect(),
    })
}

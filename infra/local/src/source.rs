//! The loopback queue as a source of the worker's long-poll loop.

use crate::loopback::{Loopback, Receipt};
use async_trait::async_trait;
use queuebridge_proto::envelope::attribute::PARKED;
use queuebridge_worker::Delivery;
use queuebridge_worker::host::source::{Received, Source};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Messages per receive, of the 10,000 that an event source may hand over: all
/// that is there, mostly, so that one loop is enough.
const RECEIVE: usize = 256;
const WAIT: Duration = Duration::from_secs(20);

/// One loopback queue.
pub struct LoopbackSource(pub Arc<Loopback>);

#[async_trait]
impl Source for LoopbackSource {
    type Receipt = Receipt;

    fn receive_max(&self) -> usize {
        if self.0.is_fifo() { 10 } else { RECEIVE }
    }

    async fn receive(
        &self,
        max: usize,
        visibility: Duration,
        stopping: &CancellationToken,
    ) -> Result<Vec<Received<Receipt>>, String> {
        let messages = tokio::select! {
            messages = self.0.receive_batch_for(max, WAIT, visibility) => messages,
            () = stopping.cancelled() => return Ok(Vec::new()),
        };
        let messages = messages.map_err(|e| e.to_string())?;
        let fifo = self.0.is_fifo();
        let received = messages.into_iter().map(|message| Received {
            receipt: message.receipt_handle,
            delivery: Delivery {
                receive_count: message.receive_count,
                fifo_group: message.group_id.filter(|_| fifo).map(|group| group.to_string()),
                message_id: Some(message.message_id.to_string()),
                trace_header: message.trace_header.map(|header| header.to_string()),
                source: self.0.name().into(),
                parked: message.attributes.iter().any(|(name, _)| *name == PARKED),
                ..Delivery::new(message.body)
            },
        });
        Ok(received.collect())
    }

    async fn delete(&self, receipts: Vec<Receipt>) {
        match self.0.finish_batch(&receipts) {
            Ok(each) => each
                .into_iter()
                .filter_map(Result::err)
                .for_each(|error| tracing::warn!(%error, "a message was not deleted")),
            Err(error) => tracing::warn!(%error, "messages were not deleted"),
        }
    }

    async fn change_visibility(&self, messages: Vec<(Receipt, Duration)>) {
        for (receipt, after) in messages {
            if let Err(error) = self.0.change_visibility(&receipt, after) {
                tracing::warn!(%error, "a message's visibility was not changed");
            }
        }
    }
}

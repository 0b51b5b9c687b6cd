//! An SQS event in, the ids to redeliver out.

use super::record::Record;
use crate::batch;
use crate::delivery::Delivery;
use crate::host::urls::QueueUrls;
use crate::host::{settle, sns, visibility_seconds};
use crate::runner::Runner;
use crate::verdict::Verdict;
use aws_lambda_events::event::sqs::SqsBatchResponse;
use aws_sdk_sqs::Client;
use lambda_runtime::Error;
use queuebridge_proto::envelope::attribute::PARKED;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// The longest batch window: how long a record may have been held before the
/// invocation began.
const MAX_WINDOW: Duration = Duration::from_secs(300);

/// How much of what is left behind an invocation's own end is for settling: an answer that
/// Lambda does not get any more is worse than messages that come back late.
const SETTLE: Duration = Duration::from_millis(250);

/// The door for SQS events.
pub(super) struct Queue {
    runner: Arc<Runner>,
    client: Client,
    urls: QueueUrls,
    stopping: CancellationToken,
}

impl Queue {
    /// `stopping` ends what runs: its claims are given back.
    pub(super) fn new(runner: Arc<Runner>, client: Client, stopping: CancellationToken) -> Self {
        Self { runner, urls: QueueUrls::new(client.clone()), client, stopping }
    }

    /// Runs the records of one event until `ends_at`.
    pub(super) async fn invoke(
        &self,
        mut records: Vec<Record>,
        ends_at: Instant,
    ) -> Result<SqsBatchResponse, Error> {
        let begun = Instant::now();
        let handlers_end = ends_at.checked_sub(batch::FINISH_GRACE).unwrap_or(begun);
        // An empty or repeated id in the answer would fail, or confuse, the whole
        // batch; so a record without one fails it before anything has run.
        if records.iter().any(|record| record.message_id.as_deref().is_none_or(str::is_empty)) {
            return Err("a record has no messageId".into());
        }
        let deliveries = deliveries(&mut records);
        let verdicts =
            batch::run(&self.runner, deliveries, Some(handlers_end), &self.stopping).await;
        let mut answer = SqsBatchResponse::default();
        let mut listed = HashSet::new();
        let mut later: HashMap<String, Vec<(String, i32)>> = HashMap::new();
        for (record, verdict) in records.into_iter().zip(verdicts) {
            let Verdict::Redeliver { after, reason } = verdict else { continue };
            let id = record.message_id.unwrap_or_default();
            tracing::debug!(id, ?after, %reason, "a message is redelivered");
            if let (Some(arn), Some(receipt)) = (record.event_source_arn, record.receipt_handle) {
                let after = visibility_seconds(after, MAX_WINDOW + begun.elapsed());
                later.entry(arn).or_default().push((receipt, after));
            }
            // A batch may hold two receives of one message.
            if listed.insert(id.clone()) {
                answer.add_failure(id);
            }
        }
        // Boxed: as a part of the owner's `main` it would be nested too deeply.
        let settle = Box::pin(async {
            for (arn, messages) in later {
                match self.urls.of(&arn).await {
                    Ok(url) => settle::change_visibility(&self.client, &url, &messages).await,
                    Err(error) => tracing::warn!(arn, error, "a queue's URL is unknown"),
                }
            }
        });
        // What is not settled in time comes back after the queue's visibility time-out. An
        // answer that is too late would bring the whole batch back.
        if timeout_at(ends_at + SETTLE, settle).await.is_err() {
            tracing::warn!("messages were not settled before the end of the invocation");
        }
        Ok(answer)
    }
}

/// Takes the bodies out of the records; what settles them stays.
pub(super) fn deliveries(records: &mut [Record]) -> Vec<Delivery> {
    let mut source: Arc<str> = Arc::default();
    let delivery = |record: &mut Record| {
        let arn = record.event_source_arn.as_deref().unwrap_or_default();
        // One string for the whole batch, nearly always.
        if *source != *arn {
            source = arn.into();
        }
        let attributes = record.attributes.get_or_insert_default();
        let receives = attributes.get("ApproximateReceiveCount");
        let parked = record.message_attributes.as_ref().is_some_and(|all| all.contains_key(PARKED));
        Delivery {
            receive_count: receives.and_then(|count| count.parse().ok()).unwrap_or(1),
            fifo_group: attributes.remove("MessageGroupId").filter(|_| arn.ends_with(".fifo")),
            source: source.clone(),
            message_id: record.message_id.clone(),
            trace_header: attributes.remove("AWSTraceHeader"),
            parked,
            pointer: None,
            body: sns::unwrapped(record.body.take().unwrap_or_default()),
        }
    };
    records.iter_mut().map(delivery).collect()
}

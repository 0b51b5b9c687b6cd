//! An SQS event in, the ids to redeliver out.

use crate::batch;
use crate::delivery::Delivery;
use crate::host::settle;
use crate::runner::Runner;
use crate::verdict::Verdict;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsMessage};
use aws_sdk_sqs::Client;
use lambda_runtime::Error;
use queuebridge_proto::UnixMillis;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What is kept of the invocation's time for settling and answering.
const MARGIN: Duration = Duration::from_millis(500);

/// The door for SQS events.
pub(super) struct Queue {
    runner: Arc<Runner>,
    client: Client,
    /// Queue URLs by queue ARN.
    urls: Mutex<HashMap<String, String>>,
}

impl Queue {
    pub(super) fn new(runner: Arc<Runner>, client: Client) -> Self {
        Self { runner, client, urls: Mutex::default() }
    }

    /// Runs the records of one event; `deadline` is the invocation's.
    pub(super) async fn invoke(
        &self,
        records: Vec<SqsMessage>,
        deadline: UnixMillis,
    ) -> Result<SqsBatchResponse, Error> {
        let now = self.runner.clock.now();
        let left = now.until(deadline).saturating_sub(MARGIN);
        let ends_at = Instant::now() + left;
        // An empty or repeated id in the answer would fail, or confuse, the whole
        // batch; so a record without one fails it before anything has run.
        if records.iter().any(|record| record.message_id.as_deref().is_none_or(str::is_empty)) {
            return Err("a record has no messageId".into());
        }
        let deliveries = records.iter().map(delivery).collect();
        let verdicts = batch::run(&self.runner, deliveries, Some(ends_at)).await;
        let mut answer = SqsBatchResponse::default();
        let mut later: HashMap<&str, Vec<(String, Duration)>> = HashMap::new();
        for (record, verdict) in records.iter().zip(verdicts) {
            let Verdict::Redeliver { after, reason } = verdict else { continue };
            let id = record.message_id.clone().unwrap_or_default();
            tracing::info!(id, ?after, %reason, "a message is redelivered");
            answer.add_failure(id);
            if let (Some(arn), Some(receipt)) = (&record.event_source_arn, &record.receipt_handle) {
                later.entry(arn).or_default().push((receipt.clone(), after));
            }
        }
        for (arn, messages) in later {
            // Without the queue's URL they come back after its visibility time-out.
            if let Some(url) = self.queue_url(arn).await {
                settle::change_visibility(&self.client, &url, &messages).await;
            }
        }
        Ok(answer)
    }

    async fn queue_url(&self, arn: &str) -> Option<String> {
        let urls = || self.urls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(url) = urls().get(arn) {
            return Some(url.clone());
        }
        // arn:partition:sqs:region:account:name
        let mut parts = arn.split(':').skip(4);
        let (account, name) = (parts.next()?, parts.next()?);
        let call = self.client.get_queue_url().queue_name(name).queue_owner_aws_account_id(account);
        match call.send().await {
            Ok(answer) => {
                let url = answer.queue_url()?.to_owned();
                urls().insert(arn.to_owned(), url.clone());
                Some(url)
            }
            Err(error) => {
                let error = aws_sdk_sqs::error::DisplayErrorContext(&error);
                tracing::warn!(arn, %error, "a queue's URL is unknown");
                None
            }
        }
    }
}

fn delivery(record: &SqsMessage) -> Delivery {
    let fifo = record.event_source_arn.as_deref().is_some_and(|arn| arn.ends_with(".fifo"));
    let attribute = |name: &str| record.attributes.get(name);
    Delivery {
        body: record.body.as_deref().unwrap_or_default().into(),
        receive_count: attribute("ApproximateReceiveCount")
            .and_then(|count| count.parse().ok())
            .unwrap_or(1),
        fifo_group: attribute("MessageGroupId").filter(|_| fifo).cloned(),
    }
}

//! A message of SQS as a record of an event.

use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::HashMap;

/// What is read of a record. Of those of other services nothing is there but where they
/// come from, which is told with the refusal.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Record {
    pub(super) message_id: Option<String>,
    pub(super) receipt_handle: Option<String>,
    pub(super) body: Option<String>,
    pub(super) attributes: Option<HashMap<String, String>>,
    pub(super) message_attributes: Option<HashMap<String, IgnoredAny>>,
    #[serde(rename = "eventSourceARN")]
    pub(super) event_source_arn: Option<String>,
    /// SNS writes it with a capital letter.
    #[serde(alias = "EventSource")]
    pub(super) event_source: Option<String>,
}

impl Record {
    /// Whether it may be a message of SQS.
    pub(super) fn is_of_sqs(&self) -> bool {
        match &self.event_source {
            Some(source) => source == "aws:sqs",
            None => self.message_id.is_some(),
        }
    }
}

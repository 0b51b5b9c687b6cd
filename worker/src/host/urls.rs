//! From the names of queues to their URLs.

use aws_sdk_sqs::Client;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Finds the URLs of queues, once each.
pub(super) struct QueueUrls {
    client: Client,
    known: Mutex<HashMap<String, Arc<str>>>,
}

impl QueueUrls {
    pub(super) fn new(client: Client) -> Self {
        Self { client, known: Mutex::default() }
    }

    /// The URL of a queue whose ARN, or URL, this is.
    pub(super) async fn of(&self, queue: &str) -> Result<Arc<str>, String> {
        if !queue.starts_with("arn:") {
            return Ok(queue.into());
        }
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(url) = known().get(queue) {
            return Ok(url.clone());
        }
        // arn:partition:sqs:region:account:name
        let mut parts = queue.split(':').skip(4);
        let (Some(account), Some(name)) = (parts.next(), parts.next()) else {
            return Err(format!("{queue} is not the ARN of a queue"));
        };
        let call = self.client.get_queue_url().queue_name(name).queue_owner_aws_account_id(account);
        let answer = call.send().await;
        let answer = answer.map_err(|e| aws_sdk_sqs::error::DisplayErrorContext(&e).to_string())?;
        let url: Arc<str> = answer.queue_url().unwrap_or_default().into();
        known().insert(queue.to_owned(), url.clone());
        Ok(url)
    }
}

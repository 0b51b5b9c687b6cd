//! The stack's queue, table and bucket at an AWS endpoint, created when missing.

use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::QueueAttributeName;
use queuebridge_proto::Keyring;
use queuebridge_proto::envelope::attribute;
use queuebridge_store::Stores;
use queuebridge_store::dynamodb::{self, DynamoResultStore};
use queuebridge_store::s3::S3PayloadStore;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How long a receive waits for messages. The stack stops within this time.
pub(crate) const RECEIVE_WAIT: Duration = Duration::from_secs(2);
const PREFIX: &str = "queuebridge/";
const KEYS: &str = "local/keys";
/// The default retention of the queue, and fourteen days in each of the others.
const COPIES_SURVIVE: Duration = Duration::from_secs(32 * 24 * 60 * 60);
/// Fourteen days, the longest retention that SQS has, in seconds.
const KEPT: &str = "1209600";

/// What the stack uses at an endpoint.
pub struct Endpoint {
    url: String,
    name: String,
    visibility: Duration,
    max_receive_count: u32,
    /// The topics' client.
    pub sns: aws_sdk_sns::Client,
    /// The queue's client.
    pub sqs: aws_sdk_sqs::Client,
    /// The queue.
    pub queue_url: String,
    /// Its dead letter queue.
    pub dead_letter_url: String,
    /// Where failed messages wait for a person.
    pub parking_url: String,
    /// Where callbacks wait for their sender.
    pub callback_url: String,
    /// The stores.
    pub stores: Stores,
    /// The keys for job ids and envelopes. They rest in the bucket, so that what
    /// one process has accepted is known to the next.
    pub keys: Keyring,
}

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{what} at {url}: {error}")]
pub struct EndpointError {
    what: &'static str,
    url: String,
    error: String,
}

/// Creates what is missing: a queue with its dead letter and parking queues, a
/// table, a bucket. Their names begin with `name`.
///
/// # Errors
/// See [`EndpointError`].
pub async fn prepare(
    url: &str,
    name: &str,
    visibility: Duration,
    max_receive_count: u32,
) -> Result<Endpoint, EndpointError> {
    let failed = |what, error: &dyn std::fmt::Display| EndpointError::new(what, url, error);
    let sdk = queuebridge_gateway::aws::sdk_config_at(url).await;
    let sqs = aws_sdk_sqs::Client::new(&sdk);
    let queue_failed = |error| failed("the queue cannot be made", &error);
    let kept = [(QueueAttributeName::MessageRetentionPeriod, KEPT.to_owned())];
    let queue = |suffix: &str| format!("{name}-{suffix}");
    let kept_queue = async |suffix| create_queue(&sqs, &queue(suffix), &kept).await;
    let dead = kept_queue("jobs-dead").await.map_err(queue_failed)?;
    let parking_url = kept_queue("jobs-parked").await.map_err(queue_failed)?;
    let callback_url = kept_queue("callbacks").await.map_err(queue_failed)?;
    let arn = arn_of(&sqs, &dead).await.map_err(queue_failed)?;
    let attributes = of_jobs(&arn, visibility, max_receive_count);
    let queue_url = create_queue(&sqs, &queue("jobs"), &attributes).await;
    let queue_url = queue_url.map_err(queue_failed)?;

    let tables = queuebridge_store::aws::dynamodb(&sdk);
    dynamodb::create_table(&tables, name)
        .await
        .map_err(|e| failed("the table cannot be made", &e))?;

    let (s3, bucket) = (queuebridge_store::aws::s3(&sdk), format!("{name}-payloads"));
    if let Err(error) = s3.create_bucket().bucket(&bucket).send().await {
        let exists = error
            .as_service_error()
            .is_some_and(|e| e.is_bucket_already_owned_by_you() || e.is_bucket_already_exists());
        if !exists {
            return Err(failed("the bucket cannot be made", &DisplayErrorContext(&error)));
        }
    }
    let keys =
        stored_keys(&s3, &bucket).await.map_err(|e| failed("the keys cannot be kept", &e))?;
    Ok(Endpoint {
        url: url.to_owned(),
        name: name.to_owned(),
        visibility,
        max_receive_count,
        sns: aws_sdk_sns::Client::new(&sdk),
        keys,
        sqs,
        queue_url,
        dead_letter_url: dead,
        parking_url,
        callback_url,
        stores: Stores::new(
            Arc::new(DynamoResultStore::new(tables, name, COPIES_SURVIVE)),
            Some(Arc::new(S3PayloadStore::new(s3, bucket, PREFIX))),
        ),
    })
}

/// A branch's queues.
pub(crate) struct BranchQueue {
    pub(crate) url: String,
    arn: String,
    pub(crate) dead_letter_url: String,
    dead_letter_arn: String,
}

impl EndpointError {
    fn new(what: &'static str, url: &str, error: &dyn std::fmt::Display) -> Self {
        Self { what, url: url.to_owned(), error: error.to_string() }
    }
}

impl Endpoint {
    /// Creates the queue of a branch, with its dead letter queue, where they are missing.
    pub(crate) async fn branch(&self, name: &str) -> Result<BranchQueue, EndpointError> {
        let made = async {
            let kept = [(QueueAttributeName::MessageRetentionPeriod, KEPT.to_owned())];
            let dead = format!("{}-branch-{name}-dead", self.name);
            let dead_letter_url = create_queue(&self.sqs, &dead, &kept).await?;
            let dead_letter_arn = arn_of(&self.sqs, &dead_letter_url).await?;
            let attributes = of_jobs(&dead_letter_arn, self.visibility, self.max_receive_count);
            let queue = format!("{}-branch-{name}", self.name);
            let url = create_queue(&self.sqs, &queue, &attributes).await?;
            let arn = arn_of(&self.sqs, &url).await?;
            Ok(BranchQueue { url, arn, dead_letter_url, dead_letter_arn })
        };
        let made: Result<BranchQueue, String> = made.await;
        made.map_err(|error| self.failed("the queue of a branch cannot be made", &error))
    }

    /// Creates the topic with a subscription for each branch: raw, for messages that name
    /// it, and with its dead letter queue for those that cannot be delivered.
    pub(crate) async fn topic(
        &self,
        branches: &[(String, BranchQueue)],
    ) -> Result<String, EndpointError> {
        let failed = |error: String| self.failed("the topic cannot be made", &error);
        let made = self.sns.create_topic().name(format!("{}-branches", self.name)).send().await;
        let topic = made.map_err(|e| failed(DisplayErrorContext(&e).to_string()))?;
        let topic = topic.topic_arn.unwrap_or_default();
        let known = self.subscribed(&topic).await.map_err(failed)?;
        // What the stack before has made is still there.
        for (name, queue) in branches.iter().filter(|(_, queue)| !known.contains(&queue.arn)) {
            self.allow(&topic, queue).await.map_err(failed)?;
            let filter = serde_json::json!({ attribute::BRANCHES: [name] }).to_string();
            let redrive =
                serde_json::json!({ "deadLetterTargetArn": queue.dead_letter_arn }).to_string();
            let call = self.sns.subscribe().topic_arn(&topic).protocol("sqs").endpoint(&queue.arn);
            let call = call
                .attributes("RawMessageDelivery", "true")
                .attributes("FilterPolicy", filter)
                .attributes("RedrivePolicy", redrive);
            call.send().await.map_err(|e| failed(DisplayErrorContext(&e).to_string()))?;
        }
        Ok(topic)
    }

    /// The queues that the topic copies to.
    async fn subscribed(&self, topic: &str) -> Result<HashSet<String>, String> {
        let pages = self.sns.list_subscriptions_by_topic().topic_arn(topic).into_paginator();
        let pages = pages.items().send().collect::<Result<Vec<_>, _>>().await;
        let all = pages.map_err(|error| DisplayErrorContext(&error).to_string())?;
        Ok(all.into_iter().filter_map(|subscription| subscription.endpoint).collect())
    }

    /// Lets the topic send to a branch's queues.
    async fn allow(&self, topic: &str, queue: &BranchQueue) -> Result<(), String> {
        for (url, arn) in
            [(&queue.url, &queue.arn), (&queue.dead_letter_url, &queue.dead_letter_arn)]
        {
            let policy = serde_json::json!({
                "Version": "2012-10-17",
                "Statement": [{
                    "Effect": "Allow",
                    "Principal": { "Service": "sns.amazonaws.com" },
                    "Action": "sqs:SendMessage",
                    "Resource": arn,
                    "Condition": { "ArnEquals": { "aws:SourceArn": topic } },
                }],
            });
            let call = self.sqs.set_queue_attributes().queue_url(url);
            let call = call.attributes(QueueAttributeName::Policy, policy.to_string());
            call.send().await.map_err(|error| DisplayErrorContext(&error).to_string())?;
        }
        Ok(())
    }

    fn failed(&self, what: &'static str, error: &dyn std::fmt::Display) -> EndpointError {
        EndpointError::new(what, &self.url, error)
    }
}

fn of_jobs(
    dead_letter_arn: &str,
    visibility: Duration,
    max_receive_count: u32,
) -> [(QueueAttributeName, String); 2] {
    let redrive = format!(
        r#"{{"deadLetterTargetArn":"{dead_letter_arn}","maxReceiveCount":"{max_receive_count}"}}"#
    );
    let visibility = visibility.as_secs().max(1).to_string();
    [
        (QueueAttributeName::RedrivePolicy, redrive),
        (QueueAttributeName::VisibilityTimeout, visibility),
    ]
}

async fn arn_of(sqs: &aws_sdk_sqs::Client, url: &str) -> Result<String, String> {
    let call = sqs.get_queue_attributes().queue_url(url);
    let call = call.attribute_names(QueueAttributeName::QueueArn);
    let attributes = call.send().await.map_err(|error| DisplayErrorContext(&error).to_string())?;
    let arn = attributes.attributes.and_then(|mut all| all.remove(&QueueAttributeName::QueueArn));
    arn.ok_or_else(|| "the queue has no ARN".to_owned())
}

/// The keys that the first stack at this endpoint has made.
async fn stored_keys(s3: &aws_sdk_s3::Client, bucket: &str) -> Result<Keyring, String> {
    let text = |error: &dyn std::error::Error| DisplayErrorContext(error).to_string();
    let object = || s3.get_object().bucket(bucket).key(KEYS).send();
    let found = match object().await {
        Ok(found) => found,
        Err(error) if error.as_service_error().is_some_and(|e| e.is_no_such_key()) => {
            let secret = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
            let secret = base64(&secret.map(uuid::Uuid::into_bytes).concat());
            let put = s3.put_object().bucket(bucket).key(KEYS).if_none_match("*");
            // Whoever comes second takes what the first has put.
            let _ = put.body(format!("1:{secret}").into_bytes().into()).send().await;
            object().await.map_err(|e| text(&e))?
        }
        Err(error) => return Err(text(&error)),
    };
    let bytes = found.body.collect().await.map_err(|e| text(&e))?.into_bytes();
    let keys = std::str::from_utf8(&bytes).map_err(|e| e.to_string())?;
    Keyring::parse(keys).map_err(|e| e.to_string())
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

async fn create_queue(
    sqs: &aws_sdk_sqs::Client,
    name: &str,
    attributes: &[(QueueAttributeName, String)],
) -> Result<String, String> {
    let mut call = sqs.create_queue().queue_name(name);
    for (name, value) in attributes {
        call = call.attributes(name.clone(), value);
    }
    match call.send().await {
        Ok(made) => Ok(made.queue_url.unwrap_or_default()),
        // It exists with other attributes, which somebody has chosen.
        Err(error) => match sqs.get_queue_url().queue_name(name).send().await {
            Ok(found) => Ok(found.queue_url.unwrap_or_default()),
            Err(_) => Err(DisplayErrorContext(&error).to_string()),
        },
    }
}

//! What every publisher promises: SQS, SNS and the loopback queue and topic take
//! the same messages, and hand them on as they were.

use crate::aws;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use queuebridge_gateway::publish::{Message, PublishError, Publisher};
use queuebridge_gateway::publish::{sns::SnsPublisher, sqs::SqsPublisher};
use queuebridge_local::loopback::{
    Loopback, LoopbackTopic, QueueConfig, Subscription, TopicConfig,
};
use queuebridge_proto::v1::{Announcement, FinishedJob, Outcome, outcome};
use queuebridge_proto::{Keyring, reply};
use queuebridge_store::Clock;
use queuebridge_tests::emulator::Emulator;
use queuebridge_worker::host::outbox::{Queues, SqsOutbox};
use queuebridge_worker::outbox::Outbox;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A destination, and how to see what arrived there.
enum Arrivals {
    Loopback(Arc<Loopback>),
    Sqs { client: aws_sdk_sqs::Client, url: String },
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arrived {
    body: String,
    attributes: BTreeMap<String, String>,
    group_id: Option<String>,
}

impl Arrivals {
    /// Receives until `count` messages are there, and deletes them.
    async fn take(&self, count: usize) -> BTreeSet<Arrived> {
        let mut arrived = BTreeSet::new();
        // As many receives as end what hangs.
        for _ in 0..600 {
            if arrived.len() >= count {
                break;
            }
            match self {
                Self::Loopback(queue) => {
                    for message in queue.receive(10, Duration::from_secs(1)).await.unwrap() {
                        queue.delete(&message.receipt_handle).unwrap();
                        let attributes = message.attributes.iter();
                        arrived.insert(Arrived {
                            body: message.body.to_string(),
                            attributes: attributes
                                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                                .collect(),
                            group_id: message.group_id.map(|group| group.to_string()),
                        });
                    }
                }
                Self::Sqs { client, url } => take_sqs(client, url, &mut arrived).await,
            }
        }
        arrived
    }
}

async fn take_sqs(client: &aws_sdk_sqs::Client, url: &str, arrived: &mut BTreeSet<Arrived>) {
    let call = client
        .receive_message()
        .queue_url(url)
        .max_number_of_messages(10)
        .wait_time_seconds(1)
        .message_attribute_names("All")
        .message_system_attribute_names(MessageSystemAttributeName::MessageGroupId);
    for message in call.send().await.unwrap().messages.unwrap_or_default() {
        let handle = message.receipt_handle.unwrap();
        client.delete_message().queue_url(url).receipt_handle(handle).send().await.unwrap();
        let attributes = message.message_attributes.unwrap_or_default().into_iter();
        let system = message.attributes.unwrap_or_default();
        arrived.insert(Arrived {
            body: message.body.unwrap(),
            attributes: attributes.map(|(k, v)| (k, v.string_value.unwrap_or_default())).collect(),
            group_id: system.get(&MessageSystemAttributeName::MessageGroupId).cloned(),
        });
    }
}

fn message(body: &str) -> Message {
    Message {
        body: body.into(),
        attributes: vec![("qb-version", "1".into()), ("qb-method", "/a.B/C".into())],
        group_id: Some("tenant".into()),
        ..Message::default()
    }
}

fn expected(body: &str) -> Arrived {
    Arrived {
        body: body.into(),
        attributes: [("qb-version", "1"), ("qb-method", "/a.B/C")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        group_id: Some("tenant".into()),
    }
}

/// The suite. `group_id` says whether the way to the queue shows message groups.
async fn conforms(publisher: Arc<dyn Publisher>, arrivals: Arrivals, group_id: bool) {
    let limits = publisher.limits();
    assert_eq!(limits.batch_entries, 10);

    // A full batch arrives whole: bodies, attributes and groups as they were.
    let bodies: Vec<String> = (0..10).map(|i| format!("body {i} +/=")).collect();
    let batch: Vec<Message> = bodies.iter().map(|body| message(body)).collect();
    assert_eq!(publisher.publish(&batch).await, vec![Ok(()); 10]);
    let mut arrived = arrivals.take(10).await;
    let mut expected: BTreeSet<Arrived> = bodies.iter().map(|body| expected(body)).collect();
    if !group_id {
        let without = |all: BTreeSet<Arrived>| {
            all.into_iter().map(|one| Arrived { group_id: None, ..one }).collect()
        };
        (arrived, expected) = (without(arrived), without(expected));
    }
    assert_eq!(arrived, expected);

    // The largest message that the limits promise is taken.
    let mut large = message("");
    large.body = "x".repeat(limits.message_bytes - large.size());
    assert_eq!(large.size(), limits.message_bytes);
    assert_eq!(publisher.publish(std::slice::from_ref(&large)).await, [Ok(())]);
    assert_eq!(arrivals.take(1).await.pop_first().unwrap().body.len(), large.body.len());
}

#[tokio::test]
async fn the_loopback_queue_conforms() {
    let queue = Loopback::new(QueueConfig::standard("q", Clock::system())).unwrap();
    conforms(queue.clone(), Arrivals::Loopback(queue), true).await;
}

#[tokio::test]
async fn the_loopback_topic_conforms() {
    let clock = Clock::system();
    let queue = Loopback::new(QueueConfig::standard("q", clock)).unwrap();
    let topic = LoopbackTopic::new(TopicConfig::standard("t", clock));
    topic
        .subscribe(Subscription { queue: queue.clone(), filter: None, dead_letter: None })
        .unwrap();
    conforms(topic, Arrivals::Loopback(queue), true).await;
}

#[tokio::test]
async fn sqs_conforms() {
    let emulator = Emulator::shared().await;
    let sdk = emulator.aws_config().await;
    let client = aws_sdk_sqs::Client::new(&sdk);
    let url = aws::queue(&client, &[]).await;
    let publisher = Arc::new(SqsPublisher::new(client.clone(), url.clone()));
    conforms(publisher, Arrivals::Sqs { client, url }, true).await;
}

#[tokio::test]
async fn sns_conforms_by_raw_delivery() {
    let emulator = Emulator::shared().await;
    let sdk = emulator.aws_config().await;
    let (sqs, sns) = (aws_sdk_sqs::Client::new(&sdk), aws_sdk_sns::Client::new(&sdk));
    let url = aws::queue(&sqs, &[]).await;
    let topic = aws::topic_to(&sns, &sqs, &url).await;
    let publisher = Arc::new(SnsPublisher::new(sns, topic));
    // That a standard topic forwards message groups is new; emulators do not all.
    conforms(publisher, Arrivals::Sqs { client: sqs, url }, false).await;
}

#[tokio::test]
async fn a_queue_that_does_not_exist_refuses() {
    let emulator = Emulator::shared().await;
    let sdk = emulator.aws_config().await;
    let client = aws_sdk_sqs::Client::new(&sdk);
    let url = aws::queue(&client, &[]).await;
    let publisher = SqsPublisher::new(client, format!("{url}-gone"));
    let answers = publisher.publish(&[message("a"), message("b")]).await;
    assert!(answers.iter().all(|a| matches!(a, Err(PublishError::Refused(_)))), "{answers:?}");
}

#[tokio::test]
async fn a_queue_with_a_smaller_message_size_is_kept_to() {
    let emulator = Emulator::shared().await;
    let sdk = emulator.aws_config().await;
    let client = aws_sdk_sqs::Client::new(&sdk);
    let url = aws::queue(&client, &[]).await;
    let call = client.set_queue_attributes().queue_url(&url);
    let call = call.attributes(QueueAttributeName::MaximumMessageSize, "65536");
    call.send().await.unwrap();
    let all = |publisher: &SqsPublisher| {
        let limits = publisher.limits();
        (limits.message_bytes, limits.batch_bytes)
    };
    let publisher = Arc::new(SqsPublisher::new(client.clone(), url.clone()));
    publisher.learn_limits().await;
    assert_eq!(all(&publisher), (65_536, 65_536));
    conforms(publisher, Arrivals::Sqs { client: client.clone(), url: url.clone() }, true).await;
    // A queue that cannot be asked keeps what is known of it.
    let gone = SqsPublisher::new(client, format!("{url}-gone"));
    gone.learn_limits().await;
    assert_eq!(all(&gone), (1_048_576, 1_048_576));
}

#[tokio::test]
async fn a_topic_takes_what_its_attribute_says_and_no_more_than_its_queues() {
    let emulator = Emulator::shared().await;
    let sdk = emulator.aws_config().await;
    let (sqs, sns) = (aws_sdk_sqs::Client::new(&sdk), aws_sdk_sns::Client::new(&sdk));
    let url = aws::queue(&sqs, &[]).await;
    let topic = aws::topic_to(&sns, &sqs, &url).await;
    let publisher = SnsPublisher::new(sns, topic);
    publisher.learn_limits().await;
    assert_eq!(publisher.limits().message_bytes, 262_144);
    let answers = publisher.publish(&[message(&"x".repeat(262_145))]).await;
    assert!(matches!(answers[0], Err(PublishError::TooLarge(_))), "{answers:?}");
}

#[tokio::test]
async fn announcements_keep_to_what_the_reply_queue_takes() {
    let emulator = Emulator::shared().await;
    let sdk = emulator.aws_config().await;
    let client = aws_sdk_sqs::Client::new(&sdk);
    let url = aws::queue(&client, &[]).await;
    let call = client.set_queue_attributes().queue_url(&url);
    let call = call.attributes(QueueAttributeName::MaximumMessageSize, "1024");
    call.send().await.unwrap();
    let keys = Keyring::single(&[1; 32]);
    let outbox = SqsOutbox::new(client.clone(), Queues::default(), keys.clone());
    let job = |number: u8, bytes: usize| {
        let noise = (0..bytes.div_ceil(16)).flat_map(|_| uuid::Uuid::new_v4().into_bytes());
        let response = outcome::Result::Response(noise.collect::<Vec<u8>>().into());
        let outcome = Outcome { result: Some(response), ..Outcome::default() };
        let finished = Some(FinishedJob { outcome: Some(outcome), ..FinishedJob::default() });
        Announcement { job: vec![number; 16].into(), finished, ..Announcement::default() }
    };
    outbox.announce(&url, vec![job(1, 400), job(2, 400), job(3, 2_000)]).await.unwrap();
    let mut told = BTreeMap::new();
    for arrived in (Arrivals::Sqs { client, url }).take(3).await {
        for job in reply::open(&arrived.body, &keys).unwrap().jobs {
            told.insert(job.job[0], job.finished.is_some());
        }
    }
    assert_eq!(told, [(1, true), (2, true), (3, false)].into());
}

#[tokio::test]
async fn an_ordered_queue_keeps_order_and_drops_repeats() {
    let emulator = Emulator::shared().await;
    let sdk = emulator.aws_config().await;
    let client = aws_sdk_sqs::Client::new(&sdk);
    let url = aws::queue(&client, &["fifo"]).await;
    let publisher = SqsPublisher::new(client.clone(), url.clone());
    assert!(publisher.limits().fifo);
    let one =
        |n: usize| Message { deduplication_id: Some(n.to_string()), ..message(&format!("{n}")) };
    let batch = [one(1), one(2), one(3)];
    assert_eq!(publisher.publish(&batch).await, vec![Ok(()); 3]);
    assert_eq!(publisher.publish(&batch).await, vec![Ok(()); 3], "repeats are success");
    let received =
        client.receive_message().queue_url(&url).max_number_of_messages(10).send().await.unwrap();
    let bodies: Vec<_> = received.messages().iter().filter_map(|m| m.body()).collect();
    assert_eq!(bodies, ["1", "2", "3"]);
}

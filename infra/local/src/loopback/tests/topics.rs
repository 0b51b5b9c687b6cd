//! A topic with raw delivery.

use super::*;
use crate::loopback::{
    BatchError, Condition, FilterError, FilterPolicy, LoopbackTopic, QueueConfig, SendError,
    SubscribeError, Subscription, TopicConfig, TopicCounts,
};

fn topic(change: impl FnOnce(&mut TopicConfig)) -> Arc<LoopbackTopic> {
    let mut config = TopicConfig::standard("events", clock());
    change(&mut config);
    LoopbackTopic::new(config)
}

fn subscription(queue: &Arc<Loopback>) -> Subscription {
    Subscription { queue: Arc::clone(queue), filter: None, dead_letter: None }
}

fn attributed(attributes: &[(&'static str, &str)]) -> Message {
    let attributes = attributes.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Message { attributes, ..of_tenant("t", "a") }
}

fn eleven() -> Message {
    attributed(&["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"].map(|name| (name, "x")))
}

#[tokio::test(start_paused = true)]
async fn every_subscription_gets_the_message_as_it_was_published() {
    let (topic, queues) = (topic(|_| ()), [standard(|_| ()), standard(|_| ())]);
    for queue in &queues {
        topic.subscribe(subscription(queue)).unwrap();
    }
    let message = Message {
        trace_header: Some("Root=1".to_owned()),
        ..attributed(&[("qb-method", "/a.B/C"), ("qb-job", "j")])
    };
    topic.publish_batch(std::slice::from_ref(&message)).unwrap()[0].as_ref().unwrap();
    for queue in queues {
        let received = only(&queue).await;
        assert_eq!(&*received.body, "a");
        assert_eq!(*received.attributes, *message.attributes);
        assert_eq!(received.group_id.as_deref(), Some("t"), "the tenant is forwarded");
        assert_eq!(received.trace_header.as_deref(), Some("Root=1"));
    }
}

#[tokio::test(start_paused = true)]
async fn filter_policies() {
    use Condition::{AnythingBut, Exactly, Exists, Prefix};
    let text = str::to_owned;
    let red = || Exactly(text("red"));
    let table: [(&str, Vec<Condition>, [bool; 3]); 8] = [
        // For the values "red", "green" and none.
        ("exact", vec![red()], [true, false, false]),
        ("one of", vec![red(), Exactly(text("green"))], [true, true, false]),
        ("prefix", vec![Prefix(text("re"))], [true, false, false]),
        ("case counts", vec![Exactly(text("Red"))], [false, false, false]),
        ("anything but", vec![AnythingBut(vec![text("red")])], [false, true, false]),
        ("exists", vec![Exists(true)], [true, true, false]),
        ("exists not", vec![Exists(false)], [false, false, true]),
        ("red or none", vec![red(), Exists(false)], [true, false, true]),
    ];
    for (what, conditions, expected) in table {
        let policy = FilterPolicy::new(vec![(text("colour"), conditions)]).unwrap();
        let messages = [
            attributed(&[("colour", "red")]),
            attributed(&[("size", "red"), ("colour", "green")]),
            attributed(&[("size", "red")]),
        ];
        assert_eq!(messages.map(|message| policy.matches(&message)), expected, "{what}");
    }
    let both = vec![(text("colour"), vec![red()]), (text("size"), vec![Exactly(text("9"))])];
    let both = FilterPolicy::new(both).unwrap();
    assert!(both.matches(&attributed(&[("size", "9"), ("colour", "red")])));
    assert!(!both.matches(&attributed(&[("size", "8"), ("colour", "red")])));
    assert!(FilterPolicy::default().matches(&attributed(&[])));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_gets_only_what_its_policy_wants() {
    let (topic, queue) = (topic(|_| ()), standard(|_| ()));
    let wanted = vec![("colour".to_owned(), vec![Condition::Exactly("red".to_owned())])];
    let filter = Some(FilterPolicy::new(wanted).unwrap());
    topic.subscribe(Subscription { filter, ..subscription(&queue) }).unwrap();
    let batch = [attributed(&[("colour", "red")]), attributed(&[("colour", "blue")])];
    let answers = topic.publish_batch(&batch).unwrap();
    assert!(answers.iter().all(Result::is_ok), "a publisher does not hear of filters");
    assert_eq!(*only(&queue).await.attributes, *batch[0].attributes);
    assert_eq!(topic.counts(), TopicCounts { delivered: 1, filtered: 1, ..Default::default() });
}

#[tokio::test(start_paused = true)]
async fn policies_are_bounded() {
    let key =
        |n: usize, conditions: usize| (format!("k{n}"), vec![Condition::Exists(true); conditions]);
    let keys = |count, conditions| (0..count).map(|n| key(n, conditions)).collect::<Vec<_>>();
    let table = [
        (keys(5, 2), None),
        (keys(6, 1), Some(FilterError::TooManyKeys)),
        (keys(2, 12), None),
        (keys(2, 13), Some(FilterError::TooManyCombinations)),
        (keys(1, 0), Some(FilterError::BadKey)),
        (vec![key(1, 1), key(1, 1)], Some(FilterError::BadKey)),
    ];
    for (keys, expected) in table {
        assert_eq!(FilterPolicy::new(keys).err(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_with_eleven_attributes_is_taken_and_lost_unless_there_is_a_dead_letter_queue() {
    let (topic, queue, dead) = (topic(|_| ()), standard(|_| ()), standard(|_| ()));
    topic.subscribe(subscription(&queue)).unwrap();
    topic.publish_batch(&[eleven()]).unwrap()[0].as_ref().unwrap();
    assert_eq!(topic.counts(), TopicCounts { discarded: 1, ..Default::default() });
    let dead_letter = Some(Arc::clone(&dead));
    topic.subscribe(Subscription { dead_letter, ..subscription(&queue) }).unwrap();
    topic.publish_batch(&[eleven()]).unwrap()[0].as_ref().unwrap();
    assert_eq!(
        topic.counts(),
        TopicCounts { discarded: 2, dead_lettered: 1, ..Default::default() }
    );
    assert!(poll(&queue, 10).await.is_empty());
    assert_eq!(&*only(&dead).await.body, "a");
}

#[tokio::test(start_paused = true)]
async fn what_a_topic_refuses() {
    let topic = topic(|_| ());
    let body = |bytes: usize| text(&"x".repeat(bytes));
    let limit = 262_144;
    let too_long = Err(BatchError::RequestTooLong { bytes: limit + 1, limit });
    assert_eq!(topic.publish_batch(&[body(limit)]).map(drop), Ok(()));
    assert_eq!(topic.publish_batch(&[body(limit), body(1)]).map(drop), too_long);
    assert_eq!(topic.publish_batch(&[]).map(drop), Err(BatchError::Empty));
    let eleven = vec![text("a"); 11];
    assert_eq!(topic.publish_batch(&eleven).map(drop), Err(BatchError::TooManyEntries(11)));
    let batch = [
        text(""),
        Message { delay_seconds: 1, ..text("a") },
        ordered("g", "a"),
        attributed(&[("a b", "x")]),
    ];
    let errors = topic.publish_batch(&batch).unwrap().into_iter().map(|r| r.unwrap_err());
    let expected = [
        SendError::EmptyBody,
        SendError::DelayNotAllowed,
        SendError::DeduplicationNotAllowed,
        SendError::AttributeName("a b"),
    ];
    assert!(errors.eq(expected));
}

#[tokio::test(start_paused = true)]
async fn a_fifo_topic_keeps_order_and_deduplicates() {
    let topic = topic(|config| {
        config.fifo = true;
        config.content_based_deduplication = true;
    });
    let queue = fifo(|_| ());
    topic.subscribe(subscription(&queue)).unwrap();
    assert_eq!(topic.subscribe(subscription(&standard(|_| ()))), Err(SubscribeError));
    let batch = [ordered("g", "1"), of_tenant("g", "2"), of_tenant("g", "2"), ordered("g", "1")];
    let ids: Vec<_> = topic.publish_batch(&batch).unwrap().into_iter().flatten().collect();
    assert_eq!((ids[1], ids[0]), (ids[2], ids[3]));
    assert_eq!(bodies(&queue, 10).await, ["1", "2"]);
    let no_group = topic.publish_batch(&[text("a")]).unwrap();
    assert_eq!(no_group, [Err(SendError::GroupMissing)]);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_stops_the_publisher_before_anyone_got_the_message() {
    let (roomy, tight) =
        (standard(|_| ()), standard(|config: &mut QueueConfig| config.capacity_bytes = 1_000));
    let topic = topic(|_| ());
    topic.subscribe(subscription(&roomy)).unwrap();
    topic.subscribe(subscription(&tight)).unwrap();
    let answers = topic.publish_batch(&[text("a"), text("b")]).unwrap();
    assert!(answers[0].is_ok());
    assert_eq!(answers[1], Err(SendError::Full));
    assert_eq!(bodies(&roomy, 10).await, ["a"]);
}

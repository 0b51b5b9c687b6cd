//! Queue and topic behind the gateway's seam.

use super::*;
use crate::loopback::{LoopbackTopic, Subscription, TopicConfig};
use queuebridge_gateway::publish::{PublishError, Publisher};

fn topic_to(queue: &Arc<Loopback>) -> Arc<LoopbackTopic> {
    let topic = LoopbackTopic::new(TopicConfig::standard("events", clock()));
    let queue = Arc::clone(queue);
    topic.subscribe(Subscription { queue, filter: None, dead_letter: None }).unwrap();
    topic
}

#[tokio::test(start_paused = true)]
async fn publishing_answers_for_each_message() {
    for through_topic in [false, true] {
        let queue = standard(|config| config.capacity_bytes = 1_500);
        let publisher: Arc<dyn Publisher> =
            if through_topic { topic_to(&queue) } else { Arc::clone(&queue) as _ };
        let batch = [text("a"), text(""), text("b"), text("c")];
        let answers = publisher.publish(&batch).await;
        assert_eq!(answers[0], Ok(()));
        assert!(matches!(answers[1], Err(PublishError::Refused(_))));
        assert_eq!(answers[2], Ok(()));
        assert!(matches!(answers[3], Err(PublishError::Full(_))));
        assert_eq!(bodies(&queue, 10).await, ["a", "b"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_is_answered_once_per_message() {
    let queue = standard(|_| ());
    let answers = queue.publish(&vec![text("a"); 11]).await;
    assert_eq!(answers.len(), 11);
    assert!(answers.iter().all(|answer| matches!(answer, Err(PublishError::Refused(_)))));
    assert_eq!(places(&queue), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn limits_are_those_of_sqs_and_sns() {
    let (queue, ordering) = (standard(|_| ()), fifo(|_| ()));
    let limits = Publisher::limits(&*queue);
    assert_eq!((limits.batch_entries, limits.batch_bytes), (10, 1_048_576));
    assert_eq!((limits.message_bytes, limits.fifo), (1_048_576, false));
    assert!(Publisher::limits(&*ordering).fifo);
    let limits = Publisher::limits(&*topic_to(&queue));
    assert_eq!((limits.batch_entries, limits.batch_bytes), (10, 262_144));
    assert_eq!((limits.message_bytes, limits.fifo), (262_144, false));
}

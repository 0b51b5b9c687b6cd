//! Queues with their dead letters, topics with their subscriptions, and the queues of
//! what is parked, announced and called back.

use super::fill::{blocks, fill};
use super::names::arn;
use super::plan::{JobQueue, Plan, Topic};

/// How long messages of all these queues may be kept, in seconds: the most that SQS allows.
const LONGEST: &str = "1209600";

pub(super) fn template(plan: &Plan) -> String {
    let topics = plan.topics.iter().map(topic);
    let queues = plan.queues.iter().map(|job_queue| queue(plan, job_queue));
    let resources = blocks(topics.chain(queues).chain(plain(plan)));
    let texts = [("made", plan.made.as_str()), ("resources", &resources)];
    fill(include_str!("fragments/queues.yaml"), &texts)
}

fn topic(topic: &Topic) -> String {
    let fifo = topic.name.ends_with(".fifo");
    let fifo = if fifo { "FifoTopic: true\nFifoThroughputScope: MessageGroup\n" } else { "" };
    let skip = "Metadata:\n  checkov:\n    skip:\n      - id: CKV_AWS_26\n        comment: \
                A customer's key where KeyArn names one; SNS has no key of its own that may \
                reach encrypted queues.\n";
    let texts = [
        ("id", topic.id.as_str()),
        ("name", &format!("\"{}\"", topic.name)),
        ("what", &topic.what),
        ("fifo", fifo),
        ("skip", skip),
    ];
    fill(include_str!("fragments/topic.yaml"), &texts)
}

fn queue(plan: &Plan, queue: &JobQueue) -> String {
    let fifo = if queue.is_fifo() {
        "FifoQueue: true\nDeduplicationScope: messageGroup\nFifoThroughputLimit: perMessageGroupId\n"
    } else {
        ""
    };
    let dead_fifo = if queue.is_fifo() { "FifoQueue: true\n" } else { "" };
    let window = if queue.is_fifo() { 0 } else { plan.batch_window };
    let rule = format!(
        "6 x {} s of its worker function, and {window} s to gather a batch.",
        queue.timeout
    );
    let (mut may_send, mut subscription) = (String::new(), String::new());
    if let Some((index, branch)) = &queue.topic {
        let branch = format!("\"{branch}\"");
        let texts =
            [("id", queue.id.as_str()), ("topic", &plan.topics[*index].id), ("branch", &branch)];
        may_send = fill(include_str!("fragments/topic-may-send.yaml"), &texts);
        subscription = fill(include_str!("fragments/subscription.yaml"), &texts);
    }
    let texts = [
        ("id", queue.id.as_str()),
        ("what", &queue.what),
        ("name", &format!("\"{}\"", queue.name)),
        ("dead", &format!("\"{}\"", queue.dead)),
        ("arn", &arn("sqs", &queue.name)),
        ("fifo", fifo),
        ("dead_fifo", dead_fifo),
        ("retention", &queue.retention.to_string()),
        ("rule", &rule),
        ("visibility", &queue.visibility(plan.batch_window).to_string()),
        ("dead_visibility", &(6 * super::dead_letters::TIMEOUT).to_string()),
        ("topic", &may_send),
    ];
    blocks([fill(include_str!("fragments/queue.yaml"), &texts), subscription])
}

/// Queues without dead letters.
fn plain(plan: &Plan) -> Vec<String> {
    let one = |id: &str, name: &str, what: &str, retention: &str, visibility: u64| {
        let texts = [
            ("id", id),
            ("name", &format!("\"{name}\"")),
            ("what", what),
            ("retention", retention),
            ("visibility", &visibility.to_string()),
        ];
        fill(include_str!("fragments/plain-queue.yaml"), &texts)
    };
    let what = "Where messages that failed for good wait for a person.";
    let mut queues = vec![one("Parking", &plan.parking, what, LONGEST, 30)];
    for (index, name) in plan.replies.iter().enumerate() {
        let what = "Who is finished; old news is of no use.";
        queues.push(one(&format!("Replies{index}Shard"), name, what, "60", 30));
    }
    if let Some(callbacks) = &plan.callbacks {
        let what = "Callbacks and the timers of their jobs, on their way to the sender.";
        let visibility = 6 * super::callbacks::TIMEOUT;
        queues.push(one("Callbacks", &callbacks.queue, what, LONGEST, visibility));
    }
    queues
}

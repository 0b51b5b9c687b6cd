//! What each program may do: the operations that it calls, on the resources that it
//! calls them on, and nothing else.

use super::names::{arn, sub};
use super::plan::{Callbacks, JobQueue, Plan};

/// One statement that allows something.
struct Statement<'a> {
    sid: &'a str,
    actions: &'a [&'a str],
    resources: Vec<String>,
}

/// Statements on no resource are left out.
fn render(statements: &[Statement]) -> String {
    let mut text = String::new();
    for Statement { sid, actions, resources } in
        statements.iter().filter(|s| !s.resources.is_empty())
    {
        let actions = match actions {
            [one] => (*one).to_owned(),
            many => format!("[{}]", many.join(", ")),
        };
        text.push_str(&format!("- Sid: {sid}\n  Effect: Allow\n  Action: {actions}\n"));
        match resources.as_slice() {
            [one] => text.push_str(&format!("  Resource: {}\n", sub(one))),
            many => {
                text.push_str("  Resource:\n");
                many.iter().for_each(|one| text.push_str(&format!("    - {}\n", sub(one))));
            }
        }
    }
    text
}

fn queue(name: &str) -> String {
    arn("sqs", name)
}

const RECEIVE: &[&str] = &["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];

/// Where workers of every role send to.
fn parking_replies_and_callbacks(plan: &Plan) -> Statement<'_> {
    let names = std::iter::once(&plan.parking).chain(&plan.replies);
    let names = names.chain(plan.callbacks.as_ref().map(|callbacks| &callbacks.queue));
    Statement {
        sid: "ParkingRepliesAndCallbacks",
        actions: &["sqs:SendMessage"],
        resources: names.map(|name| queue(name)).collect(),
    }
}

fn results(plan: &Plan) -> Statement<'_> {
    let table = format!(
        "arn:${{AWS::Partition}}:dynamodb:${{AWS::Region}}:${{AWS::AccountId}}:table/{}",
        plan.table
    );
    let actions = &["dynamodb:GetItem", "dynamodb:UpdateItem"];
    Statement { sid: "Results", actions, resources: vec![table] }
}

/// The data keys of what is encrypted before it is sent. Only gateways have new ones made.
fn data_keys<'a>(plan: &Plan, actions: &'a [&'a str]) -> Statement<'a> {
    Statement { sid: "DataKeys", actions, resources: plan.master_keys.clone() }
}

/// Reading and writing payloads, and asking whether there is one: without that S3 does not
/// tell a missing object from a forbidden one.
fn payloads<'a>(plan: &Plan, actions: &'a [&'a str]) -> [Statement<'a>; 2] {
    let bucket =
        plan.bucket.iter().map(|bucket| format!("arn:${{AWS::Partition}}:s3:::{}", bucket.name));
    let objects = plan
        .bucket
        .iter()
        .map(|bucket| format!("arn:${{AWS::Partition}}:s3:::{}/{}*", bucket.name, bucket.prefix));
    [
        Statement { sid: "Payloads", actions, resources: objects.collect() },
        Statement {
            sid: "MissingPayloads",
            actions: &["s3:ListBucket"],
            resources: bucket.collect(),
        },
    ]
}

const READ_AND_WRITE: &[&str] = &["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"];

/// A worker of one queue of jobs, as a function or a container.
pub(super) fn jobs(plan: &Plan, job_queue: &JobQueue) -> String {
    let own = vec![queue(&job_queue.name)];
    let [payloads, missing] = payloads(plan, READ_AND_WRITE);
    render(&[
        // Lambda receives and deletes in the function's name.
        Statement { sid: "Receive", actions: RECEIVE, resources: own.clone() },
        // Backing off by the visibility, or by a later copy.
        Statement {
            sid: "Redelivery",
            actions: &["sqs:GetQueueUrl", "sqs:ChangeMessageVisibility", "sqs:SendMessage"],
            resources: own,
        },
        parking_replies_and_callbacks(plan),
        results(plan),
        data_keys(plan, &["kms:Decrypt"]),
        payloads,
        missing,
    ])
}

/// The worker of all dead letters.
pub(super) fn dead_letters(plan: &Plan) -> String {
    let dead: Vec<String> = plan.queues.iter().map(|job_queue| queue(&job_queue.dead)).collect();
    render(&[
        Statement { sid: "Receive", actions: RECEIVE, resources: dead.clone() },
        Statement {
            sid: "Redelivery",
            actions: &["sqs:GetQueueUrl", "sqs:ChangeMessageVisibility"],
            resources: dead,
        },
        parking_replies_and_callbacks(plan),
        results(plan),
        data_keys(plan, &["kms:Decrypt"]),
    ])
}

/// The sender of callbacks.
pub(super) fn callbacks(plan: &Plan, callbacks: &Callbacks) -> String {
    let own = vec![queue(&callbacks.queue)];
    let others = std::iter::once(&plan.parking).chain(&plan.replies).map(|name| queue(name));
    render(&[
        Statement { sid: "Receive", actions: RECEIVE, resources: own.clone() },
        Statement {
            sid: "LaterTries",
            actions: &["sqs:GetQueueUrl", "sqs:ChangeMessageVisibility", "sqs:SendMessage"],
            resources: own,
        },
        Statement {
            sid: "ParkingAndReplies",
            actions: &["sqs:SendMessage"],
            resources: others.collect(),
        },
        Statement {
            sid: "TellQueues",
            actions: &["sqs:SendMessage"],
            resources: callbacks.tell_queues.clone(),
        },
        Statement {
            sid: "TellTopics",
            actions: &["sns:Publish"],
            resources: callbacks.tell_topics.clone(),
        },
        results(plan),
        data_keys(plan, &["kms:Decrypt"]),
    ])
}

/// The gateway. As a function it holds no reply queue.
pub(super) fn gateway(plan: &Plan, reads_replies: bool) -> String {
    let direct = plan.queues.iter().filter(|job_queue| job_queue.topic.is_none());
    let queues = direct.map(|job_queue| &job_queue.name);
    let queues = queues.chain(plan.callbacks.as_ref().map(|callbacks| &callbacks.queue));
    let replies = if reads_replies { plan.replies.as_slice() } else { &[] };
    let [payloads, missing] = payloads(
        plan,
        &["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:DeleteObject"],
    );
    render(&[
        Statement {
            sid: "Queues",
            // How large the messages may be is an attribute.
            actions: &["sqs:SendMessage", "sqs:GetQueueAttributes"],
            resources: queues.map(|name| queue(name)).collect(),
        },
        Statement {
            sid: "Topics",
            actions: &["sns:Publish", "sns:GetTopicAttributes"],
            resources: plan.topics.iter().map(|topic| arn("sns", &topic.name)).collect(),
        },
        Statement {
            sid: "Replies",
            actions: &["sqs:ReceiveMessage", "sqs:DeleteMessage"],
            resources: replies.iter().map(|name| queue(name)).collect(),
        },
        results(plan),
        data_keys(plan, &["kms:GenerateDataKey", "kms:Decrypt"]),
        payloads,
        missing,
        Statement {
            sid: "Upstreams",
            actions: &["lambda:InvokeFunction"],
            resources: plan.functions.clone(),
        },
    ])
}

/// People who replay what is parked.
pub(super) fn replay(plan: &Plan) -> String {
    let callbacks = plan.callbacks.iter().map(|callbacks| queue(&callbacks.queue));
    let [payloads, missing] = payloads(plan, &["s3:GetObject"]);
    render(&[
        Statement {
            sid: "Parked",
            actions: &["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"],
            resources: vec![queue(&plan.parking)],
        },
        Statement {
            sid: "CallbacksAgain",
            actions: &["sqs:SendMessage"],
            resources: callbacks.collect(),
        },
        data_keys(plan, &["kms:Decrypt"]),
        payloads,
        missing,
    ])
}

//! Queues and topics for one test each.

use aws_sdk_sqs::types::QueueAttributeName;

/// A new queue; with the option `fifo`, an ordered one.
pub(crate) async fn queue(client: &aws_sdk_sqs::Client, options: &[&str]) -> String {
    let fifo = options.contains(&"fifo");
    let name = format!("q-{}{}", uuid::Uuid::new_v4(), if fifo { ".fifo" } else { "" });
    let mut call = client.create_queue().queue_name(name);
    if fifo {
        call = call.attributes(QueueAttributeName::FifoQueue, "true");
    }
    call.send().await.unwrap().queue_url.unwrap()
}

/// A new topic that delivers raw to the queue.
pub(crate) async fn topic_to(
    sns: &aws_sdk_sns::Client,
    sqs: &aws_sdk_sqs::Client,
    queue_url: &str,
) -> String {
    let name = format!("t-{}", uuid::Uuid::new_v4());
    let topic = sns.create_topic().name(name).send().await.unwrap().topic_arn.unwrap();
    let attributes = sqs
        .get_queue_attributes()
        .queue_url(queue_url)
        .attribute_names(QueueAttributeName::QueueArn)
        .send()
        .await
        .unwrap();
    let arn = &attributes.attributes.unwrap()[&QueueAttributeName::QueueArn];
    sns.subscribe()
        .topic_arn(&topic)
        .protocol("sqs")
        .endpoint(arn)
        .attributes("RawMessageDelivery", "true")
        .send()
        .await
        .unwrap();
    topic
}

use super::*;
use crate::publish::classify::wire::{closed_port, message, sdk, serve_once};
use serde_json::{Value, json};
use std::net::SocketAddr;

fn publisher(address: SocketAddr, queue: &str) -> SqsPublisher {
    SqsPublisher::new(Client::new(&sdk(address)), format!("http://{address}/1/{queue}"))
}

const JSON: &str = "application/x-amz-json-1.0";

#[tokio::test]
async fn each_message_of_a_batch_gets_its_own_result() {
    let answer = json!({
        "Successful": [{"Id": "1", "MessageId": "m", "MD5OfMessageBody": "x"}],
        "Failed": [
            {"Id": "0", "SenderFault": true, "Code": "InvalidMessageContents"},
            {"Id": "2", "SenderFault": false, "Code": "InternalError"},
        ],
    });
    let (address, server) = serve_once(Some(("200 OK", JSON, answer.to_string()))).await;
    let batch = ["a", "b", "c", "d"].map(message);
    let results = publisher(address, "jobs").publish(&batch).await;
    assert!(matches!(results[0], Err(PublishError::Refused(_))));
    assert_eq!(results[1], Ok(()));
    assert!(matches!(results[2], Err(PublishError::Retryable(_))));
    assert!(matches!(results[3], Err(PublishError::Unknown(_))));

    let request: Value = serde_json::from_str(&server.await.unwrap()).unwrap();
    assert_eq!(
        request["Entries"][3],
        json!({
            "Id": "3",
            "MessageBody": "d",
            "DelaySeconds": 7,
            "MessageGroupId": "tenant",
            "MessageAttributes": {"qb-version": {"DataType": "String", "StringValue": "1"}},
            "MessageSystemAttributes": {
                "AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-2-3"},
            },
        })
    );
}

#[tokio::test]
async fn a_fifo_queue_gets_a_deduplication_id_and_no_delay() {
    let answer = json!({"Successful": [], "Failed": []}).to_string();
    let (address, server) = serve_once(Some(("200 OK", JSON, answer))).await;
    let publisher = publisher(address, "jobs.fifo");
    assert!(publisher.limits().fifo);
    publisher.publish(&[message("a")]).await;
    let request: Value = serde_json::from_str(&server.await.unwrap()).unwrap();
    assert_eq!(request["Entries"][0]["MessageDeduplicationId"], "job");
    assert_eq!(request["Entries"][0]["MessageGroupId"], "tenant");
    assert_eq!(request["Entries"][0].get("DelaySeconds"), None);
}

#[tokio::test]
async fn a_throttled_key_store_may_be_retried_and_is_not_by_the_sdk() {
    let answer = json!({"__type": "com.amazonaws.sqs#KmsThrottled", "message": "slow"});
    let (address, server) = serve_once(Some(("400 Bad Request", JSON, answer.to_string()))).await;
    let results = publisher(address, "jobs").publish(&[message("a"), message("b")]).await;
    assert_eq!(results.len(), 2);
    for result in results {
        assert!(matches!(result, Err(PublishError::Retryable(_))), "{result:?}");
    }
    server.await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_is_unknown_even_though_a_second_attempt_would_be_refused() {
    let (address, server) = serve_once(None).await;
    let results = publisher(address, "jobs").publish(&[message("a")]).await;
    assert!(matches!(results[0], Err(PublishError::Unknown(_))), "{results:?}");
    server.await.unwrap();
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_taken() {
    let results = publisher(closed_port().await, "jobs").publish(&[message("a")]).await;
    assert!(matches!(results[0], Err(PublishError::Retryable(_))), "{results:?}");
    let nowhere = SqsPublisher::new(
        Client::from_conf(
            Client::new(&sdk(closed_port().await))
                .config()
                .to_builder()
                .endpoint_url("http://no-such-host.invalid:1")
                .build(),
        ),
        "http://no-such-host.invalid:1/1/jobs".into(),
    );
    let results = nowhere.publish(&[message("a")]).await;
    assert!(matches!(results[0], Err(PublishError::Retryable(_))), "{results:?}");
}

#[tokio::test]
async fn a_refused_size_teaches_the_limit_where_the_attribute_cannot_be_read() {
    let text = "Batch requests cannot be longer than 262144 bytes. You have sent 300000 bytes.";
    let code = "com.amazonaws.sqs#BatchRequestTooLong";
    let answer = json!({"__type": code, "message": text});
    // The question after it finds no server any more.
    let (address, server) = serve_once(Some(("400 Bad Request", JSON, answer.to_string()))).await;
    let publisher = publisher(address, "jobs");
    let results = publisher.publish(&[message("a"), message("b")]).await;
    assert!(results.iter().all(|one| matches!(one, Err(PublishError::TooLarge(_)))), "{results:?}");
    let limits = publisher.limits();
    assert_eq!((limits.message_bytes, limits.batch_bytes), (262_144, 262_144));
    server.await.unwrap();

    let text =
        "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes.";
    let failed =
        json!({"Id": "1", "SenderFault": true, "Code": "InvalidParameterValue", "Message": text});
    let taken = json!({"Id": "0", "MessageId": "m", "MD5OfMessageBody": "x"});
    let answer = json!({"Successful": [taken], "Failed": [failed]});
    let (address, server) = serve_once(Some(("200 OK", JSON, answer.to_string()))).await;
    let publisher = self::publisher(address, "jobs");
    let results = publisher.publish(&[message("a"), message(&"b".repeat(2_000))]).await;
    assert_eq!(results[0], Ok(()));
    assert!(matches!(results[1], Err(PublishError::TooLarge(_))), "{results:?}");
    assert_eq!(publisher.limits().message_bytes, 1024);
    server.await.unwrap();
}

#[tokio::test]
async fn the_attribute_is_read() {
    let answer = json!({"Attributes": {"MaximumMessageSize": "262144"}}).to_string();
    let (address, server) = serve_once(Some(("200 OK", JSON, answer))).await;
    let publisher = publisher(address, "jobs");
    publisher.learn_limits().await;
    assert_eq!(publisher.limits().message_bytes, 262_144);
    let request: Value = serde_json::from_str(&server.await.unwrap()).unwrap();
    assert_eq!(request["AttributeNames"], json!(["MaximumMessageSize"]));
}

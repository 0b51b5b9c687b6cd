use super::*;
use crate::publish::classify::wire::{closed_port, message, sdk, serve_once};
use std::net::SocketAddr;

const ARN: &str = "arn:aws:sns:eu-central-1:1:jobs";

fn publisher(address: SocketAddr, arn: &str) -> SnsPublisher {
    SnsPublisher::new(Client::new(&sdk(address)), arn.to_owned())
}

fn answer(result: &str) -> Option<(&'static str, &'static str, String)> {
    let text = format!(
        "<PublishBatchResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">\
         <PublishBatchResult>{result}</PublishBatchResult></PublishBatchResponse>"
    );
    Some(("200 OK", "text/xml", text))
}

#[tokio::test]
async fn each_message_of_a_batch_gets_its_own_result() {
    let (address, server) = serve_once(answer(
        "<Failed><member><Id>0</Id><Code>InvalidParameter</Code><SenderFault>true</SenderFault>\
         </member><member><Id>2</Id><Code>KMSThrottling</Code><SenderFault>true</SenderFault>\
         </member></Failed>\
         <Successful><member><Id>1</Id><MessageId>m</MessageId></member></Successful>",
    ))
    .await;
    let results = publisher(address, ARN).publish(&["a", "b", "c", "d"].map(message)).await;
    assert!(matches!(results[0], Err(PublishError::Refused(_))));
    assert_eq!(results[1], Ok(()));
    assert!(matches!(results[2], Err(PublishError::Retryable(_))));
    assert!(matches!(results[3], Err(PublishError::Unknown(_))));

    let request = server.await.unwrap();
    let entry = "PublishBatchRequestEntries.member.4";
    for part in [
        "Id=3".to_owned(),
        "Message=d".to_owned(),
        "MessageGroupId=tenant".to_owned(),
        "MessageAttributes.entry.1.Name=qb-version".to_owned(),
        "MessageAttributes.entry.1.Value.DataType=String".to_owned(),
        "MessageAttributes.entry.1.Value.StringValue=1".to_owned(),
    ] {
        assert!(request.contains(&format!("{entry}.{part}")), "{part} in {request}");
    }
    assert!(!request.contains("MessageDeduplicationId"));
}

#[tokio::test]
async fn a_fifo_topic_gets_a_deduplication_id() {
    let (address, server) = serve_once(answer("")).await;
    let publisher = publisher(address, &format!("{ARN}.fifo"));
    assert!(publisher.limits().fifo);
    publisher.publish(&[message("a")]).await;
    assert!(server.await.unwrap().contains("member.1.MessageDeduplicationId=job"));
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_a_refused_connection_is_not() {
    let (address, server) = serve_once(None).await;
    let results = publisher(address, ARN).publish(&[message("a")]).await;
    assert!(matches!(results[0], Err(PublishError::Unknown(_))), "{results:?}");
    server.await.unwrap();
    let results = publisher(closed_port().await, ARN).publish(&[message("a")]).await;
    assert!(matches!(results[0], Err(PublishError::Retryable(_))), "{results:?}");
}

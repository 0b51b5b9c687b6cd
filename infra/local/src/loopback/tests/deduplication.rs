//! One deduplication id, one message.

use super::*;
use crate::loopback::SendError;

#[tokio::test(start_paused = true)]
async fn an_id_is_taken_for_five_minutes_even_after_its_message_was_deleted() {
    let queue = fifo(|_| ());
    let original = queue.send(&ordered("g", "1")).unwrap();
    queue.delete(&only(&queue).await.receipt_handle).unwrap();
    pass(secs(300) - Duration::from_millis(1)).await;
    let duplicate = Message { body: "another body".to_owned(), ..ordered("other", "1") };
    assert_eq!(queue.send(&duplicate), Ok(original), "answered like the original");
    assert!(poll(&queue, 10).await.is_empty());
    assert_eq!(queue.totals().deduplicated, 1);
    pass(Duration::from_millis(1)).await;
    assert_ne!(queue.send(&ordered("g", "1")), Ok(original), "a duplicate extends nothing");
    assert_eq!(bodies(&queue, 10).await, ["1"]);
}

#[tokio::test(start_paused = true)]
async fn duplicates_within_one_call_are_one_message() {
    let queue = fifo(|_| ());
    let answers = queue.send_batch(&[ordered("g", "1"), ordered("g", "1")]).unwrap();
    assert_eq!(answers[0], answers[1]);
    assert_eq!(bodies(&queue, 10).await, ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_without_id_takes_its_bodys_hash_where_that_is_turned_on() {
    let plain = fifo(|_| ());
    assert_eq!(plain.send(&of_tenant("g", "1")), Err(SendError::DeduplicationMissing));
    let hashing = fifo(|config| config.content_based_deduplication = true);
    let with_attribute =
        Message { attributes: vec![("a", "b".to_owned())], ..of_tenant("g", "abc") };
    send(&hashing, [of_tenant("g", "abc"), with_attribute, of_tenant("g", "abcd")]);
    let received = poll(&hashing, 10).await;
    let found: Vec<_> = received.iter().map(|r| &*r.body).collect();
    assert_eq!(found, ["abc", "abcd"], "attributes do not count");
    let sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(received[0].deduplication_id.as_deref(), Some(sha));
    // An id of the message's own goes before the body's.
    send(&hashing, [Message { deduplication_id: Some("x".to_owned()), ..of_tenant("h", "abc") }]);
    assert_eq!(bodies(&hashing, 10).await, ["abc"]);
}

#[tokio::test(start_paused = true)]
async fn remembered_ids_take_room_until_they_are_forgotten() {
    let queue = fifo(|_| ());
    send(&queue, [ordered("g", "1")]);
    queue.delete(&only(&queue).await.receipt_handle).unwrap();
    assert!(queue.counts().bytes > 0);
    pass(secs(300)).await;
    assert_eq!(queue.counts().bytes, 0);
}

//! The bound that memory needs and SQS does not have.

use super::*;
use crate::loopback::{MESSAGE_OVERHEAD_BYTES, SendError};

#[tokio::test(start_paused = true)]
async fn a_full_queue_takes_nothing_until_something_has_left() {
    let each = MESSAGE_OVERHEAD_BYTES + 100;
    let queue = standard(|config| config.capacity_bytes = 3 * each);
    let message = text(&"x".repeat(100));
    let answers = queue.send_batch(&vec![message.clone(); 4]).unwrap();
    assert!(answers[..3].iter().all(Result::is_ok));
    assert_eq!(answers[3], Err(SendError::Full));
    assert_eq!(queue.counts().bytes, 3 * each);
    let received = poll(&queue, 1).await;
    assert_eq!(queue.send(&message), Err(SendError::Full), "in flight is still held");
    queue.delete(&received[0].receipt_handle).unwrap();
    queue.send(&message).unwrap();
}

#[tokio::test(start_paused = true)]
async fn expired_messages_make_room() {
    let queue = standard(|config| {
        config.capacity_bytes = MESSAGE_OVERHEAD_BYTES + 1;
        config.retention = secs(1);
    });
    for _ in 0..3 {
        queue.send(&text("a")).unwrap();
        assert_eq!(queue.send(&text("b")), Err(SendError::Full));
        pass(secs(1)).await;
    }
    assert_eq!(queue.totals().expired, 3);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_needs_no_room() {
    let queue = fifo(|config| config.capacity_bytes = 1_000);
    let id = queue.send(&ordered("g", "a")).unwrap();
    assert_eq!(queue.send(&ordered("g", "b")), Err(SendError::Full));
    assert_eq!(queue.send(&ordered("g", "a")), Ok(id));
    queue.delete(&only(&queue).await.receipt_handle).unwrap();
    queue.send(&ordered("g", "b")).unwrap();
}

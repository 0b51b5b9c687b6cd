//! Visibility timeouts, redelivery, receipts.

use super::*;
use crate::loopback::{ReceiptError, ReceiveError, VisibilityError};

#[tokio::test(start_paused = true)]
async fn a_received_message_comes_back_after_its_visibility_timeout_until_it_is_deleted() {
    let queue = standard(|_| ());
    send(&queue, [text("a")]);
    let first = only(&queue).await;
    assert_eq!(places(&queue), (0, 1, 0));
    pass(secs(30) - Duration::from_millis(1)).await;
    assert!(poll(&queue, 1).await.is_empty());
    pass(Duration::from_millis(1)).await;
    assert_eq!(places(&queue), (1, 0, 0));
    let second = only(&queue).await;
    assert_eq!(second.message_id, first.message_id);
    assert_ne!(second.receipt_handle, first.receipt_handle);
    queue.delete(&second.receipt_handle).unwrap();
    pass(secs(3600)).await;
    assert!(poll(&queue, 1).await.is_empty());
    assert_eq!(queue.counts(), Default::default());
}

#[tokio::test(start_paused = true)]
async fn a_receive_tells_how_often_and_when_the_message_was_sent_and_received() {
    let queue = standard(|_| ());
    let sent = Message {
        attributes: vec![("qb-method", "/a.B/C".to_owned())],
        trace_header: Some("Root=1-2-3".to_owned()),
        ..of_tenant("t", "a")
    };
    pass(secs(1)).await;
    send(&queue, [sent.clone()]);
    pass(secs(2)).await;
    for count in 1..=3 {
        let received = only(&queue).await;
        assert_eq!(received.receive_count, count);
        assert_eq!(received.sent_at, START.plus(secs(1)));
        assert_eq!(received.first_received_at, START.plus(secs(3)));
        assert_eq!(&*received.body, "a");
        assert_eq!(*received.attributes, *sent.attributes);
        assert_eq!(received.group_id.as_deref(), Some("t"));
        assert_eq!(received.trace_header, sent.trace_header.as_deref().map(Into::into));
        pass(secs(30)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_receive_may_have_a_timeout_of_its_own_which_the_next_does_not_remember() {
    let queue = standard(|_| ());
    send(&queue, [text("a")]);
    for (timeout, own) in [(secs(5), true), (secs(30), false), (secs(43_200), true)] {
        let visibility = if own { timeout } else { secs(30) };
        let received = match own {
            true => queue.receive_for(1, Duration::ZERO, visibility).await.unwrap(),
            false => poll(&queue, 1).await,
        };
        assert_eq!(received.len(), 1);
        pass(timeout - Duration::from_millis(1)).await;
        assert_eq!(places(&queue), (0, 1, 0));
        pass(Duration::from_millis(1)).await;
        assert_eq!(places(&queue), (1, 0, 0));
    }
    let too_long = secs(43_201);
    assert_eq!(
        queue.receive_for(1, Duration::ZERO, too_long).await.unwrap_err(),
        ReceiveError::Visibility(too_long)
    );
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_zero_leaves_the_message_visible() {
    let queue = standard(|_| ());
    send(&queue, [text("a")]);
    for count in 1..=2 {
        let received = queue.receive_for(1, Duration::ZERO, Duration::ZERO).await.unwrap();
        assert_eq!(received[0].receive_count, count);
        assert_eq!(places(&queue), (1, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn changing_the_visibility_counts_from_now() {
    let queue = standard(|_| ());
    send(&queue, [text("a")]);
    let receipt = only(&queue).await.receipt_handle;
    pass(secs(20)).await;
    queue.change_visibility(&receipt, secs(30)).unwrap();
    pass(secs(29)).await;
    assert_eq!(places(&queue), (0, 1, 0));
    queue.change_visibility(&receipt, secs(2)).unwrap();
    pass(secs(2)).await;
    let receipt = only(&queue).await.receipt_handle;
    queue.change_visibility(&receipt, Duration::ZERO).unwrap();
    assert_eq!(only(&queue).await.receive_count, 3);
}

#[tokio::test(start_paused = true)]
async fn a_message_stays_invisible_for_twelve_hours_at_most_and_nothing_is_clamped() {
    let queue = standard(|config| config.visibility_timeout = secs(40_000));
    send(&queue, [text("a")]);
    let receipt = only(&queue).await.receipt_handle;
    let out_of_range = VisibilityError::OutOfRange(secs(43_201));
    assert_eq!(queue.change_visibility(&receipt, secs(43_201)), Err(out_of_range));
    queue.change_visibility(&receipt, secs(43_200)).unwrap();
    pass(secs(3_200)).await;
    let beyond = Err(VisibilityError::BeyondMaximum);
    assert_eq!(queue.change_visibility(&receipt, secs(40_001)), beyond);
    queue.change_visibility(&receipt, secs(40_000)).unwrap();
    pass(secs(39_999)).await;
    assert_eq!(places(&queue), (0, 1, 0), "a refused change changes nothing");
    pass(secs(1)).await;
    assert_eq!(places(&queue), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn only_a_receive_that_goes_on_can_have_its_visibility_changed() {
    let queue = standard(|_| ());
    send(&queue, [text("a")]);
    let first = only(&queue).await.receipt_handle;
    pass(secs(30)).await;
    let over = Err(VisibilityError::NotInFlight);
    assert_eq!(queue.change_visibility(&first, secs(1)), over, "visible again");
    let second = only(&queue).await.receipt_handle;
    assert_eq!(queue.change_visibility(&first, secs(1)), over, "received again");
    assert_eq!(queue.change_visibility(&second, secs(1)), Ok(()));
    queue.delete(&second).unwrap();
    assert_eq!(queue.change_visibility(&second, secs(1)), over, "deleted");
    let answers = queue.change_visibility_batch(&[(first, secs(1)), (second, secs(99_999))]);
    let out_of_range = Err(VisibilityError::OutOfRange(secs(99_999)));
    assert_eq!(answers.unwrap(), [over, out_of_range]);
}

#[tokio::test(start_paused = true)]
async fn a_stale_receipt_deletes_nothing_and_a_late_one_does_if_nobody_received_since() {
    let queue = standard(|_| ());
    send(&queue, [text("a")]);
    let stale = only(&queue).await.receipt_handle;
    pass(secs(30)).await;
    let late = only(&queue).await.receipt_handle;
    assert_eq!(queue.delete(&stale), Ok(()), "a stale receipt is answered success");
    assert_eq!(places(&queue), (0, 1, 0), "but the message stays");
    pass(secs(30)).await;
    assert_eq!(queue.delete(&stale), Ok(()));
    assert_eq!(places(&queue), (1, 0, 0));
    assert_eq!(queue.delete(&late), Ok(()));
    assert_eq!(queue.delete(&late), Ok(()), "deleting twice is answered success");
    assert_eq!(places(&queue), (0, 0, 0));
    assert!(poll(&queue, 1).await.is_empty());
    assert_eq!(queue.totals().deleted, 1);
}

#[tokio::test(start_paused = true)]
async fn on_fifo_a_receipt_expires_with_the_visibility() {
    let queue = fifo(|_| ());
    send(&queue, [ordered("g", "a")]);
    let first = only(&queue).await.receipt_handle;
    pass(secs(30)).await;
    assert_eq!(queue.delete(&first), Err(ReceiptError::Expired), "visible again");
    let second = only(&queue).await.receipt_handle;
    assert_eq!(queue.delete(&first), Err(ReceiptError::Expired), "received again");
    assert_eq!(queue.delete(&second), Ok(()));
    assert_eq!(queue.delete(&second), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_receipt_means_nothing_to_another_queue_or_another_message() {
    let (queue, other) = (standard(|_| ()), standard(|_| ()));
    send(&queue, [text("a")]);
    send(&other, [text("b")]);
    let receipt = only(&queue).await.receipt_handle;
    assert_eq!(other.delete(&receipt), Err(ReceiptError::Invalid));
    let invalid = Err(VisibilityError::Receipt(ReceiptError::Invalid));
    assert_eq!(other.change_visibility(&receipt, secs(1)), invalid);
    queue.delete(&receipt).unwrap();
    // The next message takes the slot of the deleted one.
    send(&queue, [text("c")]);
    queue.delete(&receipt).unwrap();
    assert_eq!(bodies(&queue, 1).await, ["c"]);
}

#[tokio::test(start_paused = true)]
async fn batches_of_receipts_are_answered_one_by_one() {
    let (queue, other) = (standard(|_| ()), standard(|_| ()));
    send(&queue, [text("a"), text("b")]);
    send(&other, [text("c")]);
    let mut receipts: Vec<_> =
        poll(&queue, 10).await.into_iter().map(|r| r.receipt_handle).collect();
    receipts.push(only(&other).await.receipt_handle);
    let answers = [Ok(()), Ok(()), Err(ReceiptError::Invalid)];
    assert_eq!(queue.delete_batch(&receipts).unwrap(), answers);
    assert_eq!(places(&queue), (0, 0, 0));
    assert_eq!(queue.finish_batch(&receipts).unwrap(), answers);
    for wrong in [&receipts[..0], &[receipts[0]; 11]] {
        queue.delete_batch(wrong).unwrap_err();
    }
}

//! Order within groups, independence between them.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_receive_takes_a_group_in_order_before_it_turns_to_the_next() {
    let queue = fifo(|_| ());
    send(&queue, ["a1", "b1", "a2", "b2", "a3"].map(|body| ordered(&body[..1], body)));
    assert_eq!(bodies(&queue, 2).await, ["a1", "a2"]);
    assert_eq!(bodies(&queue, 10).await, ["b1", "b2"], "group a is blocked, b is not");
    assert!(poll(&queue, 10).await.is_empty());
    assert_eq!(places(&queue), (1, 4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_group_is_blocked_until_all_that_was_received_of_it_is_finished() {
    let queue = fifo(|_| ());
    send(&queue, ["1", "2", "3"].map(|body| ordered("g", body)));
    let received = poll(&queue, 2).await;
    queue.delete(&received[0].receipt_handle).unwrap();
    assert!(poll(&queue, 10).await.is_empty());
    queue.delete(&received[1].receipt_handle).unwrap();
    assert_eq!(bodies(&queue, 10).await, ["3"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_overtakes_a_message_that_has_to_be_received_again() {
    let queue = fifo(|_| ());
    send(&queue, ["1", "2", "3"].map(|body| ordered("g", body)));
    let received = poll(&queue, 2).await;
    queue.delete(&received[1].receipt_handle).unwrap();
    assert!(poll(&queue, 10).await.is_empty(), "the first is still in flight");
    pass(secs(30)).await;
    assert_eq!(bodies(&queue, 1).await, ["1"]);
    assert!(poll(&queue, 10).await.is_empty(), "and in flight once more");
    pass(secs(30)).await;
    assert_eq!(bodies(&queue, 10).await, ["1", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_later_message_that_is_visible_again_waits_for_the_earlier_ones() {
    let queue = fifo(|_| ());
    send(&queue, ["1", "2"].map(|body| ordered("g", body)));
    let received = poll(&queue, 10).await;
    queue.change_visibility(&received[1].receipt_handle, Duration::ZERO).unwrap();
    assert_eq!(places(&queue), (1, 1, 0));
    assert!(poll(&queue, 10).await.is_empty());
    queue.change_visibility(&received[0].receipt_handle, Duration::ZERO).unwrap();
    assert_eq!(bodies(&queue, 10).await, ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_first_message_that_is_visible_again_waits_for_those_received_with_it() {
    let queue = fifo(|_| ());
    send(&queue, ["1", "2"].map(|body| ordered("g", body)));
    let received = poll(&queue, 10).await;
    queue.change_visibility(&received[0].receipt_handle, Duration::ZERO).unwrap();
    assert_eq!(places(&queue), (1, 1, 0));
    assert!(poll(&queue, 10).await.is_empty());
    queue.delete(&received[1].receipt_handle).unwrap();
    assert_eq!(bodies(&queue, 10).await, ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_sent_while_its_group_is_in_flight_waits() {
    let queue = fifo(|_| ());
    send(&queue, [ordered("g", "1")]);
    let first = only(&queue).await;
    send(&queue, [ordered("g", "2"), ordered("other", "3")]);
    assert_eq!(bodies(&queue, 10).await, ["3"]);
    queue.delete(&first.receipt_handle).unwrap();
    assert_eq!(bodies(&queue, 10).await, ["2"]);
}

#[tokio::test(start_paused = true)]
async fn sequence_numbers_rise() {
    let queue = fifo(|_| ());
    send(&queue, ["1", "2", "3"].map(|body| ordered("g", body)));
    let received = poll(&queue, 10).await;
    assert!(received.is_sorted_by(|a, b| a.sequence_number < b.sequence_number));
}

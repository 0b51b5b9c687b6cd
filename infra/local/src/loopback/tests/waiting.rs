//! Receivers that wait.

use super::*;
use futures_util::FutureExt as _;
use tokio::time::Instant;

/// Waits for a message; the bodies, and after how many seconds.
async fn waited(queue: &Loopback, max: usize) -> (Vec<String>, u64) {
    let start = Instant::now();
    let received = queue.receive(max, secs(20)).await.unwrap();
    (received.iter().map(|r| r.body.to_string()).collect(), start.elapsed().as_secs())
}

async fn after(seconds: u64, action: impl FnOnce()) {
    tokio::time::sleep(secs(seconds)).await;
    action();
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_empty_after_its_wait() {
    assert_eq!(waited(&standard(|_| ()), 10).await, (vec![], 20));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_receiver_gets_a_message_when_it_is_sent() {
    let queue = standard(|_| ());
    let sends = async {
        after(3, || send(&queue, [text("a")])).await;
        after(1, || send(&queue, [text("b")])).await;
    };
    let (got, ()) = tokio::join!(waited(&queue, 10), sends);
    assert_eq!(got, (vec!["a".to_owned()], 3), "it does not wait for more");
    assert_eq!(bodies(&queue, 10).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_receiver_gets_what_becomes_visible_by_time() {
    let delayed = standard(|_| ());
    send(&delayed, [Message { delay_seconds: 5, ..text("a") }]);
    assert_eq!(waited(&delayed, 1).await, (vec!["a".to_owned()], 5));

    let empty = standard(|_| ());
    let delayed = Message { delay_seconds: 5, ..text("a") };
    let (got, ()) = tokio::join!(waited(&empty, 1), after(1, || send(&empty, [delayed])));
    assert_eq!(got, (vec!["a".to_owned()], 6));

    let redelivered = standard(|config| config.visibility_timeout = secs(7));
    send(&redelivered, [text("a")]);
    only(&redelivered).await;
    assert_eq!(waited(&redelivered, 1).await, (vec!["a".to_owned()], 7));
}

#[tokio::test(start_paused = true)]
async fn a_due_time_that_is_set_while_a_receiver_waits_is_kept() {
    let queue = standard(|_| ());
    send(&queue, [text("a")]);
    let receipt = only(&queue).await.receipt_handle;
    let change = after(2, || queue.change_visibility(&receipt, secs(4)).unwrap());
    let (got, ()) = tokio::join!(waited(&queue, 1), change);
    assert_eq!(got, (vec!["a".to_owned()], 6));
}

#[tokio::test(start_paused = true)]
async fn a_due_time_is_not_missed_when_the_receiver_that_knew_of_it_leaves() {
    let queue = standard(|config| config.visibility_timeout = secs(600));
    send(&queue, [text("a")]);
    let receipt = only(&queue).await.receipt_handle;
    // The first to wait is the one that is told of the new due time.
    let leaves = tokio::time::timeout(secs(2), queue.receive(1, secs(20)));
    let change = after(1, || queue.change_visibility(&receipt, secs(9)).unwrap());
    let (left, got, ()) = tokio::join!(leaves, waited(&queue, 1), change);
    left.unwrap_err();
    assert_eq!(got, (vec!["a".to_owned()], 10));
}

#[tokio::test(start_paused = true)]
async fn all_waiting_receivers_share_what_one_call_brings() {
    let queue = standard(|_| ());
    let batch = ["a", "b", "c"].map(text);
    let send_batch = after(1, || drop(queue.send_batch(&batch).unwrap()));
    let (one, two, three, ()) =
        tokio::join!(waited(&queue, 1), waited(&queue, 1), waited(&queue, 1), send_batch);
    for (bodies, seconds) in [one, two, three] {
        assert_eq!((bodies.len(), seconds), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_goes_away_takes_nothing_with_it() {
    let queue = standard(|_| ());
    {
        let gone = queue.receive(1, secs(20));
        tokio::pin!(gone);
        assert!((&mut gone).now_or_never().is_none());
        // It is woken, and leaves before it has run.
        send(&queue, [text("a")]);
        let other = queue.receive(1, secs(20));
        assert_eq!(other.now_or_never().unwrap().unwrap().len(), 1);
    }
    assert_eq!(places(&queue), (0, 1, 0));

    let mut gone = Box::pin(queue.receive(1, secs(20)));
    assert!((&mut gone).now_or_never().is_none());
    let mut stays = Box::pin(queue.receive(1, secs(20)));
    assert!((&mut stays).now_or_never().is_none());
    send(&queue, [text("b")]);
    drop(gone);
    let received = stays.await.unwrap();
    assert_eq!(&*received[0].body, "b");
    assert_eq!(queue.config.clock.now(), START, "the wake-up was passed on");
}

#[tokio::test(start_paused = true)]
async fn a_fifo_receiver_is_woken_when_a_group_is_free_again() {
    let queue = fifo(|_| ());
    send(&queue, ["1", "2"].map(|body| ordered("g", body)));
    let first = poll(&queue, 1).await.remove(0);
    let delete = after(4, || queue.delete(&first.receipt_handle).unwrap());
    let (got, ()) = tokio::join!(waited(&queue, 10), delete);
    assert_eq!(got, (vec!["2".to_owned()], 4));
}

#[tokio::test(start_paused = true)]
async fn an_event_source_may_wait_for_longer_than_a_receiver() {
    let queue = standard(|_| ());
    let send = after(3_600, || send(&queue, [text("a")]));
    let (received, ()) = tokio::join!(queue.receive_batch(10_000, Duration::MAX), send);
    assert_eq!(received.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_receiver_does_not_spin() {
    // A receiver that woke itself would never let the paused time advance.
    let queue = standard(|config| config.in_flight_limit = 1);
    send(&queue, ["a", "b"].map(text));
    only(&queue).await;
    let (one, other) = tokio::join!(waited(&queue, 1), waited(&queue, 1));
    assert_eq!((one.1, other.1), (20, 20));
}

//! Messages that are not there yet, and those that are not there any more.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_delayed_message_is_visible_after_its_own_delay_or_else_the_queues() {
    for (own, of_queue, expected) in [(0, 0, 0), (7, 0, 7), (0, 5, 5), (7, 5, 7), (900, 900, 900)] {
        let queue = standard(|config| config.delay = secs(of_queue));
        send(&queue, [Message { delay_seconds: own, ..text("a") }]);
        if expected > 0 {
            assert_eq!(places(&queue), (0, 0, 1));
            pass(secs(expected) - Duration::from_millis(1)).await;
            assert!(poll(&queue, 1).await.is_empty());
            pass(Duration::from_millis(1)).await;
        }
        assert_eq!(only(&queue).await.sent_at, queue.config.clock.now_minus(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_fifo_queues_delay_holds_for_each_message_and_keeps_the_order() {
    let queue = fifo(|config| config.delay = secs(10));
    send(&queue, [ordered("g", "1")]);
    pass(secs(4)).await;
    send(&queue, [ordered("g", "2")]);
    pass(secs(6)).await;
    let first = only(&queue).await;
    assert_eq!(&*first.body, "1");
    pass(secs(4)).await;
    assert!(poll(&queue, 1).await.is_empty(), "the group is blocked");
    queue.delete(&first.receipt_handle).unwrap();
    assert_eq!(bodies(&queue, 10).await, ["2"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_vanishes_when_its_retention_is_over_wherever_it_is() {
    let queue = standard(|config| {
        config.retention = secs(60);
        config.visibility_timeout = secs(600);
    });
    send(&queue, [text("in flight")]);
    let receipt = only(&queue).await.receipt_handle;
    send(&queue, [text("visible"), Message { delay_seconds: 600, ..text("delayed") }]);
    pass(secs(60) - Duration::from_millis(1)).await;
    assert_eq!(places(&queue), (1, 1, 1));
    pass(Duration::from_millis(1)).await;
    assert_eq!(queue.counts(), Default::default());
    assert_eq!(queue.totals().expired, 3);
    assert!(poll(&queue, 1).await.is_empty());
    assert_eq!(queue.delete(&receipt), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn retention_may_be_shorter_than_sqs_takes() {
    let queue = standard(|config| config.retention = Duration::from_millis(500));
    send(&queue, [text("a")]);
    pass(Duration::from_millis(500)).await;
    send(&queue, [text("b")]);
    assert_eq!(bodies(&queue, 10).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn an_expired_head_lets_its_fifo_group_go_on() {
    let queue = fifo(|config| {
        config.retention = secs(60);
        config.visibility_timeout = secs(600);
    });
    send(&queue, [ordered("g", "1")]);
    assert_eq!(bodies(&queue, 10).await, ["1"]);
    pass(secs(30)).await;
    send(&queue, [ordered("g", "2")]);
    assert!(poll(&queue, 10).await.is_empty());
    // The waiting receiver wakes by itself when the first one expires.
    let received = queue.receive(10, secs(20)).await.unwrap();
    assert!(received.is_empty(), "the wait is shorter than the rest of the retention");
    let received = queue.receive(10, secs(20)).await.unwrap();
    assert_eq!(&*received[0].body, "2");
    assert_eq!(queue.config.clock.now(), START.plus(secs(60)));
}

trait Earlier {
    fn now_minus(&self, seconds: u64) -> UnixMillis;
}

impl Earlier for Clock {
    fn now_minus(&self, seconds: u64) -> UnixMillis {
        UnixMillis(self.now().0 - seconds * 1000)
    }
}

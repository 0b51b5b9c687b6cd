//! Messages that nobody could finish.

use super::*;
use crate::loopback::{ConfigError, Redrive};

fn pair(fifo: bool, max_receive_count: u32) -> (Arc<Loopback>, Arc<Loopback>) {
    let suffix = if fifo { ".fifo" } else { "" };
    let config = |name: &str| QueueConfig {
        fifo,
        name: format!("{name}{suffix}"),
        ..QueueConfig::standard("", clock())
    };
    let dead_letter = Loopback::new(config("dead")).unwrap();
    let redrive = Some(Redrive { max_receive_count, dead_letter: Arc::clone(&dead_letter) });
    (Loopback::new(QueueConfig { redrive, ..config("source") }).unwrap(), dead_letter)
}

#[tokio::test(start_paused = true)]
async fn a_message_is_moved_instead_of_being_received_once_too_often() {
    let (source, dead) = pair(false, 2);
    pass(secs(1)).await;
    let id = source.send(&of_tenant("t", "a")).unwrap();
    for count in 1..=2 {
        assert_eq!(only(&source).await.receive_count, count);
        pass(secs(30)).await;
        assert_eq!(places(&dead), (0, 0, 0));
    }
    assert_eq!(places(&source), (1, 0, 0), "it is moved by a receive, not by the time");
    assert!(poll(&source, 10).await.is_empty());
    assert_eq!(source.counts(), Default::default());
    assert_eq!(source.totals().dead_lettered, 1);
    let moved = only(&dead).await;
    assert_eq!((moved.message_id, &*moved.body), (id, "a"));
    assert_eq!(moved.receive_count, 3, "receives count across queues");
    assert_eq!(moved.sent_at, START.plus(secs(1)), "a standard queue keeps the time of sending");
    assert_eq!(moved.group_id.as_deref(), Some("t"));
}

#[tokio::test(start_paused = true)]
async fn moved_messages_take_no_place_in_the_receive() {
    let (source, dead) = pair(false, 1);
    send(&source, [text("a"), text("b")]);
    poll(&source, 2).await;
    pass(secs(30)).await;
    send(&source, [text("c")]);
    assert_eq!(bodies(&source, 1).await, ["c"]);
    assert_eq!(bodies(&dead, 10).await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn the_dead_letter_queues_retention_counts_from_the_sending_on_standard_queues() {
    for (fifo, survives) in [(false, false), (true, true)] {
        let (source, dead) = pair(fifo, 1);
        let message = if fifo { ordered("g", "a") } else { text("a") };
        send(&source, [message]);
        let day = secs(24 * 60 * 60);
        pass(3 * day).await;
        poll(&source, 1).await;
        pass(secs(30)).await;
        poll(&source, 1).await;
        assert_eq!(places(&dead), (1, 0, 0));
        pass(day).await;
        assert_eq!(places(&dead), (usize::from(survives), 0, 0), "fifo: {fifo}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fifo_group_goes_on_behind_a_moved_message() {
    let (source, dead) = pair(true, 1);
    send(&source, ["1", "2"].map(|body| ordered("g", body)));
    assert_eq!(bodies(&source, 1).await, ["1"]);
    pass(secs(30)).await;
    assert_eq!(bodies(&source, 10).await, ["2"]);
    let moved = only(&dead).await;
    assert_eq!((&*moved.body, moved.group_id.as_deref()), ("1", Some("g")));
    assert_eq!(moved.sent_at, START.plus(secs(30)), "on FIFO the time begins anew");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_waits_at_the_dead_letter_queue_is_woken() {
    let (source, dead) = pair(false, 1);
    send(&source, [text("a")]);
    only(&source).await;
    pass(secs(30)).await;
    let (moved, left) = tokio::join!(dead.receive(1, secs(20)), poll(&source, 1));
    assert_eq!((moved.unwrap().len(), left.len()), (1, 0));
    assert_eq!(source.config.clock.now(), START.plus(secs(30)), "at once");
}

#[tokio::test(start_paused = true)]
async fn moved_messages_are_taken_even_by_a_full_queue() {
    let dead_letter = standard(|config| config.capacity_bytes = 1);
    let redrive = Redrive { max_receive_count: 1, dead_letter: Arc::clone(&dead_letter) };
    let source = standard(|config| config.redrive = Some(redrive));
    send(&source, [text("a")]);
    only(&source).await;
    pass(secs(30)).await;
    assert!(poll(&source, 1).await.is_empty());
    assert_eq!(bodies(&dead_letter, 1).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_queue_is_of_its_sources_type() {
    let (standard, fifo) = (standard(|_| ()), fifo(|_| ()));
    let config = |fifo: bool, dead_letter: &Arc<Loopback>, max_receive_count| QueueConfig {
        fifo,
        redrive: Some(Redrive { max_receive_count, dead_letter: Arc::clone(dead_letter) }),
        ..QueueConfig::standard(if fifo { "a.fifo" } else { "a" }, clock())
    };
    let mismatch = ConfigError::DeadLetterType;
    assert_eq!(Loopback::new(config(false, &fifo, 1)).unwrap_err(), mismatch);
    assert_eq!(Loopback::new(config(true, &standard, 1)).unwrap_err(), mismatch);
    for count in [0, 1_001] {
        let out_of_range = ConfigError::OutOfRange("max_receive_count");
        assert_eq!(Loopback::new(config(true, &fifo, count)).unwrap_err(), out_of_range);
    }
}

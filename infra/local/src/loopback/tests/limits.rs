//! What is refused, and how.

use super::*;
use crate::loopback::{BatchError, ConfigError, ReceiveError, SendError};

const MIB: usize = 1_048_576;

fn with_attribute(name: &'static str, value: &str) -> Message {
    Message { attributes: vec![(name, value.to_owned())], ..text("a") }
}

#[tokio::test(start_paused = true)]
async fn each_rule_for_messages_of_a_standard_queue() {
    const NAMES: [&str; 11] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
    let attributes = |n| Message {
        attributes: NAMES[..n].iter().map(|a| (*a, "x".to_owned())).collect(),
        ..text("a")
    };
    let doubled =
        Message { attributes: vec![("a", "1".to_owned()), ("a", "2".to_owned())], ..text("a") };
    let body = |bytes: usize| text(&"x".repeat(bytes));
    let contents = || Err(SendError::InvalidMessageContents("the body"));
    let name = |name| Err(SendError::AttributeName(name));
    let too_long = Err(SendError::TooLong { bytes: MIB + 1, limit: MIB });
    let group_id = Err(SendError::Id("the message group id"));
    let long_name: &'static str = Box::leak("n".repeat(257).into_boxed_str());
    let table = [
        (text(""), Err(SendError::EmptyBody)),
        (text("\t\n\r \u{7f}\u{d7ff}\u{e000}\u{fffd}\u{10000}\u{10ffff}"), Ok(())),
        (text("\u{0}"), contents()),
        (text("ab\u{8}"), contents()),
        (text("\u{b}"), contents()),
        (text("\u{12}\u{3}foo"), contents()),
        (text("\u{1f}"), contents()),
        (text("é\u{fffe}"), contents()),
        (text("\u{ffff}"), contents()),
        (body(MIB), Ok(())),
        (body(MIB + 1), too_long.clone()),
        // Name, type and value count: 1 + 6 + 1.
        (Message { body: "x".repeat(MIB - 8), ..with_attribute("n", "v") }, Ok(())),
        (Message { body: "x".repeat(MIB - 7), ..with_attribute("n", "v") }, too_long),
        (attributes(10), Ok(())),
        (attributes(11), Err(SendError::TooManyAttributes(11))),
        (doubled, name("a")),
        (with_attribute("a.b-c_D9", "x"), Ok(())),
        (with_attribute("", "x"), name("")),
        (with_attribute(".a", "x"), name(".a")),
        (with_attribute("a.", "x"), name("a.")),
        (with_attribute("a..b", "x"), name("a..b")),
        (with_attribute("a b", "x"), name("a b")),
        (with_attribute("é", "x"), name("é")),
        (with_attribute("AWS.x", "x"), name("AWS.x")),
        (with_attribute("amazon.x", "x"), name("amazon.x")),
        (with_attribute(&long_name[1..], "x"), Ok(())),
        (with_attribute(long_name, "x"), name(long_name)),
        (with_attribute("n", ""), Err(SendError::EmptyAttribute("n"))),
        (with_attribute("n", "\u{1}"), Err(SendError::InvalidMessageContents("n"))),
        (Message { delay_seconds: 900, ..text("a") }, Ok(())),
        (Message { delay_seconds: 901, ..text("a") }, Err(SendError::Delay(901))),
        (of_tenant(&"g".repeat(128), "a"), Ok(())),
        (of_tenant(&"g".repeat(129), "a"), group_id.clone()),
        (of_tenant("", "a"), group_id.clone()),
        (of_tenant("a b", "a"), group_id),
        (ordered("g", "a"), Err(SendError::DeduplicationNotAllowed)),
    ];
    for (message, expected) in table {
        let what = format!("{:.60}", format!("{message:?}"));
        assert_eq!(standard(|_| ()).send(&message).map(drop), expected, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_rule_for_messages_of_a_fifo_queue() {
    let no_group = Message { group_id: None, ..ordered("g", "a") };
    let table = [
        (ordered("g", "a"), Ok(())),
        (no_group, Err(SendError::GroupMissing)),
        (Message { delay_seconds: 1, ..ordered("g", "a") }, Err(SendError::DelayNotAllowed)),
        (of_tenant("g", "a"), Err(SendError::DeduplicationMissing)),
        (ordered("g", &"d".repeat(129)), Err(SendError::Id("the deduplication id"))),
    ];
    for (message, expected) in table {
        assert_eq!(fifo(|_| ()).send(&message).map(drop), expected, "{message:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_bad_entry_hurts_no_other() {
    let queue = standard(|_| ());
    let answers = queue.send_batch(&[text("a"), text("\u{0}"), text("b")]).unwrap();
    let taken: Vec<_> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(taken, [true, false, true]);
    assert_eq!(bodies(&queue, 10).await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_holds_one_to_ten_messages_of_one_mebibyte_together() {
    let queue = standard(|_| ());
    let half = text(&"x".repeat(MIB / 2));
    let too_long = BatchError::RequestTooLong { bytes: MIB + 1, limit: MIB };
    let table = [
        (vec![], Err(BatchError::Empty)),
        (vec![text("a"); 10], Ok(10)),
        (vec![text("a"); 11], Err(BatchError::TooManyEntries(11))),
        (vec![half.clone(), half.clone()], Ok(2)),
        (vec![half.clone(), half, text("x")], Err(too_long)),
    ];
    for (batch, expected) in table {
        let before = queue.counts();
        let answer = queue.send_batch(&batch).map(|answers| answers.len());
        assert_eq!(answer, expected);
        assert!(expected.is_ok() || queue.counts() == before, "nothing was taken");
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_may_have_a_lower_maximum_message_size() {
    let queue = standard(|config| config.maximum_message_bytes = 1_024);
    queue.send(&text(&"x".repeat(1_024))).unwrap();
    let answers = queue.send_batch(&[text(&"x".repeat(1_025)), text("a")]).unwrap();
    assert_eq!(answers[0], Err(SendError::TooLong { bytes: 1_025, limit: 1_024 }));
    assert!(answers[1].is_ok());
    // It bounds a call as well.
    let half = text(&"x".repeat(512));
    assert!(queue.send_batch(&[half.clone(), half.clone()]).is_ok());
    let too_long = BatchError::RequestTooLong { bytes: 1_025, limit: 1_024 };
    assert_eq!(queue.send_batch(&[half.clone(), half, text("x")]), Err(too_long));
}

#[tokio::test(start_paused = true)]
async fn a_receive_takes_one_to_ten_messages_and_waits_twenty_seconds_at_most() {
    let queue = standard(|_| ());
    send(&queue, (0..15).map(|n| text(&n.to_string())));
    for max in [0, 11] {
        let error = queue.receive(max, Duration::ZERO).await.unwrap_err();
        assert_eq!(error, ReceiveError::ReadCountOutOfRange(max));
    }
    let error = queue.receive(1, secs(21)).await.unwrap_err();
    assert_eq!(error, ReceiveError::Wait(secs(21)));
    assert_eq!(poll(&queue, 10).await.len(), 10);
    assert_eq!(poll(&queue, 10).await.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_event_source_takes_up_to_ten_thousand_messages_and_six_mebibytes() {
    let queue = standard(|_| ());
    for _ in 0..1_001 {
        queue.send_batch(&vec![text("a"); 10]).unwrap();
    }
    assert_eq!(queue.receive_batch(10_000, Duration::ZERO).await.unwrap().len(), 10_000);
    assert_eq!(queue.receive_batch(10_000, Duration::ZERO).await.unwrap().len(), 10);

    send(&queue, (0..8).map(|_| text(&"x".repeat(MIB))));
    let received = queue.receive_batch(100, Duration::ZERO).await.unwrap();
    assert_eq!(received.len(), 5, "six and their metadata would not fit");
    let receipts: Vec<_> = received.iter().map(|r| r.receipt_handle).collect();
    assert!(queue.finish_batch(&receipts).unwrap().iter().all(Result::is_ok));
    assert_eq!(queue.counts().in_flight, 10_010);

    for (queue, most) in [(queue, 10_000), (fifo(|_| ()), 10)] {
        assert!(queue.receive_batch(most, Duration::ZERO).await.is_ok());
        for max in [0, most + 1] {
            let error = queue.receive_batch(max, Duration::ZERO).await.unwrap_err();
            assert_eq!(error, ReceiveError::ReadCountOutOfRange(max));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_120_000_messages_are_in_flight() {
    let queue = standard(|_| ());
    for _ in 0..12_001 {
        queue.send_batch(&vec![text("a"); 10]).unwrap();
    }
    for _ in 0..12 {
        assert_eq!(queue.receive_batch(10_000, Duration::ZERO).await.unwrap().len(), 10_000);
    }
    let error = queue.receive(1, Duration::ZERO).await.unwrap_err();
    assert_eq!(error, ReceiveError::OverLimit);
}

#[tokio::test(start_paused = true)]
async fn over_the_limit_a_short_poll_is_refused_and_a_long_one_empty_and_fifo_is_silent() {
    let queue = standard(|config| config.in_flight_limit = 2);
    send(&queue, ["a", "b", "c"].map(text));
    let received = poll(&queue, 10).await;
    assert_eq!(received.len(), 2, "up to the limit and no further");
    let error = queue.receive(1, Duration::ZERO).await.unwrap_err();
    assert_eq!(error, ReceiveError::OverLimit);
    assert!(queue.receive(1, secs(20)).await.unwrap().is_empty());
    queue.delete(&received[0].receipt_handle).unwrap();
    assert_eq!(bodies(&queue, 10).await.len(), 1);

    let queue = fifo(|config| config.in_flight_limit = 1);
    send(&queue, [ordered("g", "1"), ordered("h", "2")]);
    only(&queue).await;
    assert!(poll(&queue, 1).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_full_flight_deck_wakes_the_waiting_when_there_is_room_again() {
    let queue = standard(|config| config.in_flight_limit = 1);
    send(&queue, ["a", "b"].map(text));
    let receipt = only(&queue).await.receipt_handle;
    let delete = async { queue.delete(&receipt).unwrap() };
    let (received, ()) = tokio::join!(queue.receive(1, secs(20)), delete);
    assert_eq!(&*received.unwrap()[0].body, "b");
    assert_eq!(queue.config.clock.now(), START);
}

#[tokio::test(start_paused = true)]
async fn each_rule_for_queues() {
    type Change = fn(&mut QueueConfig);
    let table: [(Change, Result<(), ConfigError>); 16] = [
        (|_| (), Ok(())),
        (|c| c.name = "a-B_9".into(), Ok(())),
        (|c| c.name = String::new(), Err(ConfigError::Name)),
        (|c| c.name = "a.b".into(), Err(ConfigError::Name)),
        (|c| c.name = "a".repeat(81), Err(ConfigError::Name)),
        (|c| c.fifo = true, Err(ConfigError::Name)),
        (|c| c.name = "jobs.fifo".into(), Err(ConfigError::Name)),
        (|c| (c.fifo, c.name) = (true, "jobs.fifo".into()), Ok(())),
        (|c| (c.fifo, c.name) = (true, ".fifo".into()), Err(ConfigError::Name)),
        (|c| c.visibility_timeout = secs(43_200), Ok(())),
        (
            |c| c.visibility_timeout = secs(43_201),
            Err(ConfigError::OutOfRange("visibility_timeout")),
        ),
        (|c| c.delay = secs(900), Ok(())),
        (|c| c.delay = secs(901), Err(ConfigError::OutOfRange("delay"))),
        (|c| c.retention = Duration::ZERO, Err(ConfigError::OutOfRange("retention"))),
        (
            |c| c.maximum_message_bytes = 1_023,
            Err(ConfigError::OutOfRange("maximum_message_bytes")),
        ),
        (
            |c| c.maximum_message_bytes = MIB + 1,
            Err(ConfigError::OutOfRange("maximum_message_bytes")),
        ),
    ];
    for (row, (change, expected)) in table.into_iter().enumerate() {
        let mut config = QueueConfig::standard("jobs", clock());
        change(&mut config);
        assert_eq!(Loopback::new(config).map(drop), expected, "row {row}");
    }
}

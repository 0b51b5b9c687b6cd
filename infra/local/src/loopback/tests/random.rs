//! Whatever is done in whatever order, the books stay right.

use super::*;
use crate::loopback::{Receipt, Redrive};
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

#[derive(Clone, Debug)]
enum Step {
    Send(u8, u16),
    Receive(usize),
    Delete(usize),
    Change(usize, u64),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..4_u8, 0..3_u16).prop_map(|(group, delay)| Step::Send(group, delay)),
        3 => (1..=10_usize).prop_map(Step::Receive),
        2 => any::<prop::sample::Index>().prop_map(|i| Step::Delete(i.index(64))),
        1 => (0..64_usize, 0..8_u64).prop_map(|(i, seconds)| Step::Change(i, seconds)),
        2 => (0..8_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..120)
}

/// Runs the steps, checks after each, and then drains the queue.
async fn run(steps: Vec<Step>, is_fifo: bool) {
    let make = |name: &str, redrive| {
        let suffix = if is_fifo { ".fifo" } else { "" };
        Loopback::new(QueueConfig {
            fifo: is_fifo,
            visibility_timeout: secs(5),
            retention: secs(100_000),
            redrive,
            ..QueueConfig::standard(&format!("{name}{suffix}"), clock())
        })
        .unwrap()
    };
    let dead = make("dead", None);
    let queue = make("q", Some(Redrive { max_receive_count: 3, dead_letter: Arc::clone(&dead) }));
    let mut receipts: Vec<(Receipt, u64)> = Vec::new();
    let mut sent = 0_u64;
    let mut last_of_group: HashMap<String, u64> = HashMap::new();
    let mut finished: HashSet<u64> = HashSet::new();
    for step in steps {
        match step {
            Step::Send(group, delay) => {
                let group = group.to_string();
                let delay_seconds = if is_fifo { 0 } else { delay };
                let deduplication_id = is_fifo.then(|| sent.to_string());
                let body = sent.to_string();
                send(
                    &queue,
                    [Message { delay_seconds, deduplication_id, ..of_tenant(&group, &body) }],
                );
                sent += 1;
            }
            Step::Receive(max) => {
                for received in poll(&queue, max).await {
                    let body: u64 = received.body.parse().unwrap();
                    assert!(received.receive_count <= 3);
                    assert!(!finished.contains(&body), "a deleted message stays deleted");
                    receipts.push((received.receipt_handle, body));
                }
            }
            Step::Delete(index) => {
                if let Some((receipt, body)) = receipts.get(index).copied() {
                    let before = queue.totals().deleted;
                    let answer = queue.delete(&receipt);
                    if queue.totals().deleted > before {
                        assert!(answer.is_ok() && finished.insert(body), "deleted once");
                    }
                }
            }
            Step::Change(index, seconds) => {
                if let Some((receipt, _)) = receipts.get(index) {
                    let _ = queue.change_visibility(receipt, secs(seconds));
                }
            }
            Step::Pass(seconds) => pass(secs(seconds)).await,
        }
        let (counts, totals) = (queue.counts(), queue.totals());
        let here = (counts.visible + counts.in_flight + counts.delayed) as u64;
        assert_eq!(totals.sent, here + totals.deleted + totals.dead_lettered);
        assert_eq!(totals.dead_lettered, dead.totals().sent);
    }
    // Everything that is left comes, in order where there is an order.
    pass(secs(60)).await;
    loop {
        let batch = poll(&queue, 10).await;
        if batch.is_empty() {
            break;
        }
        for received in batch {
            let body: u64 = received.body.parse().unwrap();
            let group = received.group_id.as_deref().unwrap_or_default().to_owned();
            let last = last_of_group.insert(group, body);
            assert!(!is_fifo || last.is_none_or(|last| last < body), "groups keep their order");
            assert!(finished.insert(body));
            queue.delete(&received.receipt_handle).unwrap();
        }
    }
    assert_eq!(places(&queue), (0, 0, 0));
    assert_eq!(finished.len() as u64 + queue.totals().dead_lettered, sent);
    pass(secs(300)).await;
    assert_eq!(queue.counts(), Default::default());
}

fn simulate(steps: Vec<Step>, is_fifo: bool) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(run(steps, is_fifo));
}

proptest! {
    #[test]
    fn a_standard_queue_loses_nothing_and_keeps_its_books(steps in steps()) {
        simulate(steps, false);
    }

    #[test]
    fn a_fifo_queue_loses_nothing_and_keeps_its_order(steps in steps()) {
        simulate(steps, true);
    }
}

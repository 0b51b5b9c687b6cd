//! What the loopback promises, promise by promise, in paused time.

mod capacity;
mod dead_letters;
mod deduplication;
mod delay_and_retention;
mod fairness;
mod fifo;
mod limits;
mod publishers;
mod random;
mod topics;
mod visibility;
mod waiting;

use super::{Loopback, QueueConfig, Received};
use queuebridge_gateway::publish::Message;
use queuebridge_proto::UnixMillis;
use queuebridge_store::Clock;
use std::{sync::Arc, time::Duration};

const START: UnixMillis = UnixMillis(1_700_000_000_000);

fn clock() -> Clock {
    Clock::simulated(START)
}

fn standard(change: impl FnOnce(&mut QueueConfig)) -> Arc<Loopback> {
    let mut config = QueueConfig::standard("jobs", clock());
    change(&mut config);
    Loopback::new(config).unwrap()
}

fn fifo(change: impl FnOnce(&mut QueueConfig)) -> Arc<Loopback> {
    let mut config = QueueConfig::fifo("jobs.fifo", clock());
    change(&mut config);
    Loopback::new(config).unwrap()
}

fn text(body: &str) -> Message {
    Message { body: body.to_owned(), ..Message::default() }
}

fn of_tenant(tenant: &str, body: &str) -> Message {
    Message { group_id: Some(tenant.to_owned()), ..text(body) }
}

/// A FIFO message whose body is its deduplication id.
fn ordered(group: &str, body: &str) -> Message {
    Message { deduplication_id: Some(body.to_owned()), ..of_tenant(group, body) }
}

fn send(queue: &Loopback, messages: impl IntoIterator<Item = Message>) {
    for message in messages {
        queue.send(&message).unwrap();
    }
}

/// Receives without waiting.
async fn poll(queue: &Loopback, max: usize) -> Vec<Received> {
    queue.receive(max, Duration::ZERO).await.unwrap()
}

/// The bodies of a receive without waiting.
async fn bodies(queue: &Loopback, max: usize) -> Vec<String> {
    poll(queue, max).await.iter().map(|r| r.body.to_string()).collect()
}

async fn only(queue: &Loopback) -> Received {
    let mut received = poll(queue, 10).await;
    assert_eq!(received.len(), 1, "exactly one message is there");
    received.remove(0)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn pass(duration: Duration) {
    tokio::time::advance(duration).await;
}

/// Visible, in flight, delayed.
fn places(queue: &Loopback) -> (usize, usize, usize) {
    let counts = queue.counts();
    (counts.visible, counts.in_flight, counts.delayed)
}

//! The queue of a bench: what is visible when, and what was parked.

use crate::Delivery;
use crate::outbox::{Outbox, OutboxError, Outgoing};
use async_trait::async_trait;
use queuebridge_proto::envelope::attribute::PARKED;
use queuebridge_proto::v1::Announcement;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A message, and from when on it is visible.
#[derive(Clone, Debug)]
pub(super) struct Resting {
    pub(super) delivery: Delivery,
    visible_at: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    messages: Vec<Resting>,
    parked: Vec<Outgoing>,
    sent: u64,
}

impl Queue {
    pub(super) fn put(&self, body: Arc<str>, fifo_group: Option<String>, delay: Duration) {
        let mut books = self.books();
        books.sent += 1;
        let message_id = Some(format!("message-{}", books.sent));
        let delivery = Delivery { receive_count: 0, fifo_group, message_id, ..Delivery::new(body) };
        books.messages.push(Resting { delivery, visible_at: Instant::now() + delay });
    }

    pub(super) fn duplicate(&self, is_copied: impl Fn(&str) -> bool) {
        let mut books = self.books();
        let copy = |m: &Resting| Resting { visible_at: Instant::now(), ..m.clone() };
        let copies: Vec<_> =
            books.messages.iter().filter(|m| is_copied(&m.delivery.body)).map(copy).collect();
        books.messages.extend(copies);
    }

    /// Everything that is visible, in order; of a group only what no invisible
    /// message stands before.
    pub(super) fn receive(&self) -> Vec<Resting> {
        let now = Instant::now();
        let mut blocked: Vec<String> = Vec::new();
        let (received, rest) = std::mem::take(&mut self.books().messages).into_iter().partition(
            |message: &Resting| {
                let group = message.delivery.fifo_group.clone();
                let ready = message.visible_at <= now
                    && group.as_ref().is_none_or(|group| !blocked.contains(group));
                blocked.extend(group.filter(|_| !ready));
                ready
            },
        );
        self.books().messages = rest;
        let received: Vec<Resting> = received;
        let count = |mut message: Resting| {
            message.delivery.receive_count += 1;
            message
        };
        received.into_iter().map(count).collect()
    }

    /// Back to the front: what comes back is older than what came meanwhile.
    pub(super) fn put_back(&self, mut message: Resting, after: Duration) {
        message.visible_at = Instant::now() + after;
        let mut books = self.books();
        let place = books.messages.iter().take_while(|m| m.delivery.receive_count > 0).count();
        books.messages.insert(place, message);
    }

    /// When the next message can be received: of a group only the first counts.
    pub(super) fn next_visible(&self) -> Option<Instant> {
        let mut groups = HashSet::new();
        let books = self.books();
        let first = |message: &&Resting| match &message.delivery.fifo_group {
            Some(group) => groups.insert(group.clone()),
            None => true,
        };
        books.messages.iter().filter(first).map(|message| message.visible_at).min()
    }

    pub(super) fn len(&self) -> usize {
        self.books().messages.len()
    }

    pub(super) fn parked(&self) -> Vec<String> {
        let reason = |message: &Outgoing| {
            let found = message.attributes.iter().find(|(name, _)| *name == PARKED);
            found.map(|(_, reason)| reason.clone()).unwrap_or_default()
        };
        self.books().parked.iter().map(reason).collect()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Outbox for Queue {
    async fn resend(
        &self,
        _source: &str,
        message: Outgoing,
        delay: Duration,
    ) -> Result<(), OutboxError> {
        self.put(message.body, None, delay);
        Ok(())
    }

    fn parks(&self) -> bool {
        true
    }

    async fn park(&self, message: Outgoing) -> Result<(), OutboxError> {
        self.books().parked.push(message);
        Ok(())
    }

    async fn call_back(&self, _message: Outgoing) -> Result<(), OutboxError> {
        Ok(())
    }

    async fn announce(&self, _shard: &str, _jobs: Vec<Announcement>) -> Result<(), OutboxError> {
        Ok(())
    }
}

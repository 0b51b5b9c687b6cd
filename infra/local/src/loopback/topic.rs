//! A topic in memory: raw delivery to loopback queues.

use super::{
    dedup::{self, Dedup},
    filter::FilterPolicy,
    limits::{self, BatchError, SendError},
    queue::Loopback,
};
use queuebridge_gateway::publish::Message;
use queuebridge_store::Clock;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// Bytes of one message, and of one call, that a topic takes by default.
pub const TOPIC_MESSAGE_BYTES: usize = 262_144;

/// The settings of a topic.
#[derive(Clone, Debug)]
pub struct TopicConfig {
    /// For people.
    pub name: String,
    /// Whether it keeps the order of groups. Its queues are FIFO queues exactly
    /// then; that SNS also lets a FIFO topic feed standard queues is left out.
    pub fifo: bool,
    /// FIFO: a message without deduplication id takes its body's SHA-256.
    pub content_based_deduplication: bool,
    /// Bytes of one message and of one call, 1 KiB to 1 MiB.
    pub maximum_message_bytes: usize,
    /// Tells the deduplication window.
    pub clock: Clock,
}

impl TopicConfig {
    /// A standard topic with SNS's defaults.
    #[must_use]
    pub fn standard(name: &str, clock: Clock) -> Self {
        Self {
            name: name.to_owned(),
            fifo: false,
            content_based_deduplication: false,
            maximum_message_bytes: TOPIC_MESSAGE_BYTES,
            clock,
        }
    }
}

/// A queue that a topic's messages go to, with raw delivery.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Takes the messages, by its own rules.
    pub queue: Arc<Loopback>,
    /// Which messages it gets; all without one.
    pub filter: Option<FilterPolicy>,
    /// Takes those that the queue refuses, with at most ten of their attributes;
    /// without it they are lost.
    pub dead_letter: Option<Arc<Loopback>>,
}

/// A topic that behaves like one of SNS.
pub struct LoopbackTopic {
    pub(super) config: TopicConfig,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    subscriptions: Arc<[Subscription]>,
    dedup: Dedup,
    counts: TopicCounts,
}

/// What has become of the messages of a topic, counted once per subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicCounts {
    /// Taken by the queue.
    pub delivered: u64,
    /// Not wanted by the filter policy.
    pub filtered: u64,
    /// Refused by the queue, most likely for an eleventh attribute, and lost.
    pub discarded: u64,
    /// Refused by the queue and taken by the subscription's dead-letter queue.
    pub dead_lettered: u64,
}

/// A queue of the other type cannot subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queues of a FIFO topic must be FIFO queues, and those of a standard topic must not")]
pub struct SubscribeError;

impl LoopbackTopic {
    /// A topic without subscriptions.
    #[must_use]
    pub fn new(config: TopicConfig) -> Arc<Self> {
        Arc::new(Self { config, inner: Mutex::default() })
    }

    /// Adds a subscription, for the messages published from now on.
    ///
    /// # Errors
    ///
    /// When one of its queues is not of the topic's type.
    pub fn subscribe(&self, subscription: Subscription) -> Result<(), SubscribeError> {
        let wrong = |queue: &Arc<Loopback>| queue.is_fifo() != self.config.fifo;
        if wrong(&subscription.queue) || subscription.dead_letter.as_ref().is_some_and(wrong) {
            return Err(SubscribeError);
        }
        self.with(|inner| {
            let all = inner.subscriptions.iter().cloned().chain([subscription]);
            inner.subscriptions = all.collect();
        });
        Ok(())
    }

    /// Publishes 1 to 10 messages, together at most the topic's maximum. One
    /// answer per message, in order: its id, or why it was not taken. Taken
    /// means given to every subscription that wants it.
    ///
    /// # Errors
    ///
    /// When the call as a whole is refused; then none was taken.
    pub fn publish_batch(
        &self,
        batch: &[Message],
    ) -> Result<Vec<Result<Uuid, SendError>>, BatchError> {
        limits::check_batch(batch, self.config.maximum_message_bytes)?;
        Ok(batch.iter().map(|message| self.publish_one(message)).collect())
    }

    /// What has become of the messages so far.
    #[must_use]
    pub fn counts(&self) -> TopicCounts {
        self.with(|inner| inner.counts)
    }

    fn publish_one(&self, message: &Message) -> Result<Uuid, SendError> {
        let deduplication_id = self.check(message)?;
        let subscriptions = self.with(|inner| Arc::clone(&inner.subscriptions));
        let wants = |s: &Subscription| s.filter.as_ref().is_none_or(|f| f.matches(message));
        let (wanting, filtered): (Vec<_>, Vec<_>) = subscriptions.iter().partition(|s| wants(s));
        // SNS would retry a busy queue for weeks; here the publisher waits. So
        // it hears "full" before any queue has taken the message.
        if wanting.iter().any(|s| !s.queue.has_room_for(1, message.size())) {
            return Err(SendError::Full);
        }
        let id = Uuid::new_v4();
        if let Some(deduplication_id) = &deduplication_id {
            let now = self.config.clock.now();
            let original = self.with(|inner| {
                let original = inner.dedup.original(deduplication_id, now);
                if original.is_none() {
                    inner.dedup.remember(deduplication_id, id, now);
                }
                original
            });
            if let Some(original) = original {
                return Ok(original);
            }
        }
        let mut message = message.clone();
        message.deduplication_id = deduplication_id.map(|id| id.to_string());
        let mut counts = TopicCounts { filtered: filtered.len() as u64, ..Default::default() };
        for subscription in wanting {
            deliver(subscription, &message, &mut counts);
        }
        self.with(|inner| inner.counts.add(counts));
        Ok(id)
    }

    /// Checks a message by SNS's rules; its deduplication id on FIFO.
    fn check(&self, message: &Message) -> Result<Option<Arc<str>>, SendError> {
        limits::check_contents(message, self.config.maximum_message_bytes)?;
        if message.delay_seconds > 0 {
            return Err(SendError::DelayNotAllowed);
        }
        match (self.config.fifo, &message.group_id, &message.deduplication_id) {
            (true, None, _) => Err(SendError::GroupMissing),
            (true, Some(_), _) => {
                dedup::id_of(message, self.config.content_based_deduplication).map(Some)
            }
            (false, _, Some(_)) => Err(SendError::DeduplicationNotAllowed),
            (false, _, None) => Ok(None),
        }
    }

    fn with<R>(&self, change: impl FnOnce(&mut Inner) -> R) -> R {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn deliver(subscription: &Subscription, message: &Message, counts: &mut TopicCounts) {
    if subscription.queue.send_from_topic(message).is_ok() {
        counts.delivered += 1;
        return;
    }
    let mut rest = message.clone();
    rest.attributes.truncate(limits::ATTRIBUTES);
    let taken = subscription.dead_letter.as_ref().map(|queue| queue.send_from_topic(&rest));
    match taken {
        Some(Ok(_)) => counts.dead_lettered += 1,
        Some(Err(_)) | None => counts.discarded += 1,
    }
}

impl TopicCounts {
    fn add(&mut self, more: Self) {
        self.delivered += more.delivered;
        self.filtered += more.filtered;
        self.discarded += more.discarded;
        self.dead_lettered += more.dead_lettered;
    }
}

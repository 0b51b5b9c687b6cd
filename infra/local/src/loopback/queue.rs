//! The queue: sending, counting, and the lock around it all.

use super::{
    config::{ConfigError, QueueConfig},
    counts::{Counts, Totals},
    dedup,
    limits::{self, BatchError, SendError},
    message::{self, Content},
    state::{Incoming, State},
};
use queuebridge_gateway::publish::Message;
use queuebridge_proto::UnixMillis;
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;
use uuid::Uuid;

/// A queue in memory that behaves like one of SQS.
pub struct Loopback {
    pub(super) config: QueueConfig,
    /// Tells this queue's receipts from those of others in the process.
    pub(super) number: u64,
    /// Wakes one waiting receiver.
    pub(super) arrivals: Notify,
    state: Mutex<State>,
}

impl Loopback {
    /// Makes an empty queue.
    ///
    /// # Errors
    ///
    /// When a setting is out of its range, see [`QueueConfig`].
    pub fn new(config: QueueConfig) -> Result<Arc<Self>, ConfigError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        config.check()?;
        Ok(Arc::new(Self {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            arrivals: Notify::new(),
            state: Mutex::new(State::new(config.fifo)),
            config,
        }))
    }

    /// The queue's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Whether messages of a group keep their order.
    #[must_use]
    pub fn is_fifo(&self) -> bool {
        self.config.fifo
    }

    /// Takes 1 to 10 messages, together at most what one may have, and answers for each of
    /// them in order: its message id, or why it was not taken. A duplicate on
    /// FIFO is answered with the id of the message that it duplicates.
    ///
    /// # Errors
    ///
    /// When the call as a whole is refused; then none was taken.
    pub fn send_batch(
        &self,
        batch: &[Message],
    ) -> Result<Vec<Result<Uuid, SendError>>, BatchError> {
        limits::check_batch(batch, self.config.maximum_message_bytes)?;
        // All checking and copying happens before the lock is taken.
        let accepted: Vec<_> = batch.iter().map(|message| self.accept(message)).collect();
        let delays = batch.iter().map(|message| self.delay_of(message));
        Ok(self.with(|state, now| {
            let each = accepted.into_iter().zip(delays);
            each.map(|(content, delay)| {
                let content = content?;
                self.make_room(state, now, &content)?;
                Ok(self.put(state, now, content, delay))
            })
            .collect()
        }))
    }

    /// Takes one message; its message id.
    ///
    /// # Errors
    ///
    /// When it is not taken.
    pub fn send(&self, message: &Message) -> Result<Uuid, SendError> {
        let content = self.accept(message)?;
        self.with(|state, now| {
            self.make_room(state, now, &content)?;
            Ok(self.put(state, now, content, self.delay_of(message)))
        })
    }

    /// Takes one message even if the queue is full: a topic has asked before,
    /// and has already told its publisher that the message is taken.
    pub(super) fn send_from_topic(&self, message: &Message) -> Result<Uuid, SendError> {
        let content = self.accept(message)?;
        Ok(self.with(|state, now| self.put(state, now, content, self.config.delay)))
    }

    /// Whether messages of so many bytes in all would be taken.
    pub(super) fn has_room_for(&self, messages: usize, bytes: usize) -> bool {
        let each = message::MESSAGE_OVERHEAD_BYTES + dedup::REMEMBERED_ID_BYTES;
        self.counts().bytes + messages * each + bytes <= self.config.capacity_bytes
    }

    /// How many messages stand where.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.with(|state, now| {
            state.dedup.forget(now);
            state.counts()
        })
    }

    /// What has happened so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.with(|state, _| state.totals)
    }

    /// Runs `change` on the books as of now, and wakes a waiting receiver if
    /// there is something for it, or it has to wait less long than it thinks.
    pub(super) fn with<R>(&self, change: impl FnOnce(&mut State, UnixMillis) -> R) -> R {
        let now = self.config.clock.now();
        let mut state = self.lock();
        let planned = state.next_event();
        state.advance(now);
        let answer = change(&mut state, now);
        let sooner = state.next_event().is_some_and(|next| planned.is_none_or(|at| next < at));
        let wake = sooner || state.can_deliver(self.config.in_flight_limit);
        drop(state);
        if wake {
            self.arrivals.notify_one();
        }
        answer
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside would be a mistake of ours in one operation; the other
        // callers are better served by the books as they are.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a message sent at `sent_at` vanishes.
    pub(super) fn expiry_of(&self, sent_at: UnixMillis) -> UnixMillis {
        sent_at.plus(self.config.retention)
    }

    fn accept(&self, message: &Message) -> Result<Content, SendError> {
        let QueueConfig { fifo, maximum_message_bytes, content_based_deduplication, .. } =
            self.config;
        let mut content = message::accept(message, fifo, maximum_message_bytes)?;
        if fifo {
            content.deduplication_id = Some(dedup::id_of(message, content_based_deduplication)?);
        }
        Ok(content)
    }

    /// The message's own delay; zero means that it leaves it to the queue.
    fn delay_of(&self, message: &Message) -> Duration {
        match message.delay_seconds {
            0 => self.config.delay,
            seconds => Duration::from_secs(seconds.into()),
        }
    }

    /// Refuses a new message that the capacity is not enough for. A duplicate
    /// takes no room.
    fn make_room(
        &self,
        state: &mut State,
        now: UnixMillis,
        content: &Content,
    ) -> Result<(), SendError> {
        let mut cost = content.cost();
        if let Some(id) = &content.deduplication_id {
            if state.dedup.original(id, now).is_some() {
                return Ok(());
            }
            cost += dedup::REMEMBERED_ID_BYTES;
        }
        let fits = state.bytes() + cost <= self.config.capacity_bytes;
        if fits { Ok(()) } else { Err(SendError::Full) }
    }

    fn put(&self, state: &mut State, now: UnixMillis, content: Content, delay: Duration) -> Uuid {
        let id = Uuid::new_v4();
        if let Some(deduplication_id) = &content.deduplication_id {
            if let Some(original) = state.dedup.original(deduplication_id, now) {
                state.totals.deduplicated += 1;
                return original;
            }
            state.dedup.remember(deduplication_id, id, now);
        }
        let incoming =
            Incoming { id, content, sent_at: now, first_received_at: None, receive_count: 0 };
        state.insert(incoming, now, delay, self.expiry_of(now));
        id
    }
}

impl fmt::Debug for Loopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loopback").field("name", &self.config.name).finish_non_exhaustive()
    }
}

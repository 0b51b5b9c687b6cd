//! Receiving, at once or by waiting.

use super::{
    limits::{BATCH_ENTRIES, VISIBILITY, WAIT},
    message::{Budget, Received},
    queue::Loopback,
};
use queuebridge_proto::UnixMillis;
use std::{pin::pin, time::Duration};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// Records of one invocation that an event source may gather from a standard
/// queue; from a FIFO queue it is ten.
pub const EVENT_RECORDS: usize = 10_000;
/// Bytes of one invocation's event.
pub const EVENT_BYTES: usize = 6 * 1024 * 1024;
/// About what a record's metadata takes of the event, besides body and attributes.
const RECORD_BYTES: usize = 500;

/// Why nothing could be received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// Not 1 to 10 messages; for an event source, 1 to 10,000, on FIFO 1 to 10.
    #[error("ReadCountOutOfRange: {0} messages")]
    ReadCountOutOfRange(usize),
    /// A wait of more than 20 s.
    #[error("InvalidParameterValue: a wait of {0:?} is more than 20 s")]
    Wait(Duration),
    /// A visibility timeout of more than 12 hours.
    #[error("InvalidParameterValue: a visibility timeout of {0:?} is more than 12 hours")]
    Visibility(Duration),
    /// A standard queue with as many messages in flight as there may be, asked
    /// without a wait. With a wait the answer is an empty one.
    #[error("OverLimit: too many messages in flight")]
    OverLimit,
}

impl Loopback {
    /// Receives up to `max` (1 to 10) messages as soon as there is one, and
    /// waits for that for up to `wait` (at most 20 s). Each is invisible for the
    /// queue's visibility timeout. None is lost if the caller goes away while
    /// it waits.
    ///
    /// # Errors
    ///
    /// When an argument is out of its range, or too much is in flight.
    pub async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Received>, ReceiveError> {
        self.receive_for(max, wait, self.config.visibility_timeout).await
    }

    /// [`receive`](Self::receive) with a visibility timeout of its own, 0 to 12
    /// hours. The next receive does not remember it.
    ///
    /// # Errors
    ///
    /// When an argument is out of its range, or too much is in flight.
    pub async fn receive_for(
        &self,
        max: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Received>, ReceiveError> {
        if !(1..=BATCH_ENTRIES).contains(&max) {
            return Err(ReceiveError::ReadCountOutOfRange(max));
        }
        if wait > WAIT {
            return Err(ReceiveError::Wait(wait));
        }
        if visibility > VISIBILITY {
            return Err(ReceiveError::Visibility(visibility));
        }
        self.poll(Limit { messages: max, bytes: usize::MAX, overhead: 0 }, wait, visibility).await
    }

    /// What an event source would hand to one invocation: up to `max` (1 to
    /// 10,000, on FIFO 1 to 10) messages, fewer if they would exceed 6 MiB, as
    /// soon as there is one. There is no batch window, and the wait may be of
    /// any length.
    ///
    /// # Errors
    ///
    /// When `max` is out of its range, or too much is in flight.
    pub async fn receive_batch(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Received>, ReceiveError> {
        self.receive_batch_for(max, wait, self.config.visibility_timeout).await
    }

    /// [`receive_batch`](Self::receive_batch) with a visibility timeout of its
    /// own, 0 to 12 hours.
    ///
    /// # Errors
    ///
    /// When an argument is out of its range, or too much is in flight.
    pub async fn receive_batch_for(
        &self,
        max: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Received>, ReceiveError> {
        if visibility > VISIBILITY {
            return Err(ReceiveError::Visibility(visibility));
        }
        let most = if self.is_fifo() { BATCH_ENTRIES } else { EVENT_RECORDS };
        if !(1..=most).contains(&max) {
            return Err(ReceiveError::ReadCountOutOfRange(max));
        }
        let event = Limit { messages: max, bytes: EVENT_BYTES, overhead: RECORD_BYTES };
        self.poll(event, wait, visibility).await
    }

    async fn poll(
        &self,
        limit: Limit,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Received>, ReceiveError> {
        let attempt = || self.attempt(limit, visibility);
        match attempt() {
            Attempt::Received(received) => return Ok(received),
            Attempt::Nothing { over_limit: true, .. } if wait.is_zero() && !self.is_fifo() => {
                return Err(ReceiveError::OverLimit);
            }
            Attempt::Nothing { .. } if wait.is_zero() => return Ok(Vec::new()),
            Attempt::Nothing { .. } => {}
        }
        let deadline = Instant::now().checked_add(wait);
        let _leaving = Leaving(&self.arrivals);
        loop {
            // Listening begins before looking, so nothing can arrive in between.
            let mut arrival = pin!(self.arrivals.notified());
            arrival.as_mut().enable();
            let next = match attempt() {
                Attempt::Received(received) => return Ok(received),
                Attempt::Nothing { next, .. } => next,
            };
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(Vec::new());
            }
            let due = next.and_then(|due| now.checked_add(self.config.clock.now().until(due)));
            match [deadline, due].into_iter().flatten().min() {
                Some(until) => tokio::select! {
                    () = arrival => {}
                    () = sleep_until(until) => {}
                },
                None => arrival.await,
            }
        }
    }

    fn attempt(&self, limit: Limit, visibility: Duration) -> Attempt {
        let in_flight_limit = self.config.in_flight_limit;
        self.with(|state, now| {
            let room = in_flight_limit.saturating_sub(state.counts().in_flight);
            let budget = Budget::new(limit.messages.min(room), limit.bytes, limit.overhead);
            let (slots, dead) = state.take(now, budget, visibility, self.max_receives());
            self.bury(dead);
            let hand_out = |slot| Some(state.messages.get(slot)?.hand_out(self.number, slot));
            let received: Vec<_> = slots.into_iter().filter_map(hand_out).collect();
            if received.is_empty() {
                let over_limit = state.is_over_limit(in_flight_limit);
                return Attempt::Nothing { next: state.next_event(), over_limit };
            }
            Attempt::Received(received)
        })
    }
}

/// What one receive may take.
#[derive(Clone, Copy)]
struct Limit {
    messages: usize,
    bytes: usize,
    overhead: usize,
}

enum Attempt {
    Received(Vec<Received>),
    Nothing { next: Option<UnixMillis>, over_limit: bool },
}

/// A receiver that has waited passes on, when it goes, what it was woken for or
/// was watching: without this, a due time that only it knew of would be missed.
struct Leaving<'a>(&'a Notify);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

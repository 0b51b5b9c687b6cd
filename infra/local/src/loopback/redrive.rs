//! The way of a message that nobody could finish into the dead-letter queue.

use super::{message::Stored, queue::Loopback, state::Incoming};
use std::time::Duration;

impl Loopback {
    /// How often a message may be received before it is moved instead.
    pub(super) fn max_receives(&self) -> Option<u32> {
        self.config.redrive.as_ref().map(|redrive| redrive.max_receive_count)
    }

    /// Moves messages to the dead-letter queue, under the lock of this one, so
    /// that nobody finds them in neither. The locks cannot meet in a circle:
    /// a dead-letter queue is made before the queues that name it.
    pub(super) fn bury(&self, dead: Vec<Stored>) {
        if let Some(redrive) = &self.config.redrive
            && !dead.is_empty()
        {
            redrive.dead_letter.adopt(dead);
        }
    }

    /// Takes moved messages, whatever the capacity: they must not be lost, and
    /// the process holds no more than before. Their id and receive count stay,
    /// and on standard queues the time of their sending, from which this
    /// queue's retention counts; on FIFO that time begins anew.
    fn adopt(&self, dead: Vec<Stored>) {
        self.with(|state, now| {
            for message in dead {
                let sent_at = if self.is_fifo() { now } else { message.sent_at };
                let incoming = Incoming {
                    id: message.id,
                    content: message.content,
                    sent_at,
                    first_received_at: message.first_received_at,
                    receive_count: message.receive_count,
                };
                state.insert(incoming, now, Duration::ZERO, self.expiry_of(sent_at));
            }
        });
    }
}

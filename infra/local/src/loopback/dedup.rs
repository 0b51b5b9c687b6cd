//! Deduplication of FIFO queues and topics: one id, one message, for five minutes.

use super::limits::{DEDUPLICATION, SendError};
use queuebridge_gateway::publish::Message;
use queuebridge_proto::UnixMillis;
use sha2::{Digest, Sha256};
use std::{
    collections::{HashMap, VecDeque},
    fmt::Write as _,
    sync::Arc,
};
use uuid::Uuid;

/// What one remembered id takes of the queue's capacity.
pub(super) const REMEMBERED_ID_BYTES: usize = 128;

/// The ids taken in the last five minutes. They are remembered whatever becomes
/// of their messages.
#[derive(Default)]
pub(super) struct Dedup {
    /// Half a SHA-256 instead of the id: ids are up to 128 characters, and
    /// millions of them may be remembered.
    taken: HashMap<u128, Uuid>,
    order: VecDeque<(UnixMillis, u128)>,
}

impl Dedup {
    /// The message that already took this id, if one did.
    pub(super) fn original(&mut self, id: &str, now: UnixMillis) -> Option<Uuid> {
        self.forget(now);
        self.taken.get(&key(id)).copied()
    }

    /// Remembers that `message` took `id`.
    pub(super) fn remember(&mut self, id: &str, message: Uuid, now: UnixMillis) {
        let key = key(id);
        self.taken.insert(key, message);
        self.order.push_back((now.plus(DEDUPLICATION), key));
    }

    /// Forgets the ids whose time is over.
    pub(super) fn forget(&mut self, now: UnixMillis) {
        while let Some((until, key)) = self.order.front().copied()
            && until <= now
        {
            self.order.pop_front();
            self.taken.remove(&key);
        }
        if self.taken.is_empty() {
            self.taken.shrink_to(1_024);
            self.order.shrink_to(1_024);
        }
    }

    /// What the remembered ids take of the queue's capacity.
    pub(super) fn bytes(&self) -> usize {
        self.taken.len() * REMEMBERED_ID_BYTES
    }
}

/// The message's deduplication id: its own, else its body's SHA-256 where that
/// is turned on. Attributes do not count.
pub(super) fn id_of(message: &Message, content_based: bool) -> Result<Arc<str>, SendError> {
    match &message.deduplication_id {
        Some(id) => Ok(id.as_str().into()),
        None if content_based => {
            let mut id = String::with_capacity(64);
            for byte in Sha256::digest(message.body.as_bytes()) {
                // Writing to a string does not fail.
                let _ = write!(id, "{byte:02x}");
            }
            Ok(id.into())
        }
        None => Err(SendError::DeduplicationMissing),
    }
}

fn key(id: &str) -> u128 {
    let digest = Sha256::digest(id.as_bytes());
    let half = digest.first_chunk::<16>().copied().unwrap_or_default();
    u128::from_be_bytes(half)
}

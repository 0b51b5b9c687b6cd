//! Who decides gathers at this gateway: of each one at a time, and few at once. Every reader
//! of a gather may find that its deadline has passed, and what decides it may fetch and merge
//! up to 32 MiB.

use queuebridge_proto::JobId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{OwnedMutexGuard, Semaphore, SemaphorePermit};
use uuid::Uuid;

/// Gathers that are decided at once.
const AT_ONCE: usize = 2;

/// Turns to decide gathers.
#[derive(Debug)]
pub struct Closes {
    few: Semaphore,
    each: Mutex<HashMap<Uuid, Weak<tokio::sync::Mutex<()>>>>,
}

/// A turn to decide one gather, until it is dropped.
pub(super) struct Turn<'a> {
    _of_all: SemaphorePermit<'a>,
    _of_this: OwnedMutexGuard<()>,
}

impl Default for Closes {
    fn default() -> Self {
        Self { few: Semaphore::new(AT_ONCE), each: Mutex::default() }
    }
}

impl Closes {
    /// Whoever has waited looks first whether the gather is decided by now. `None` never
    /// happens: nobody ends the turns.
    pub(super) async fn turn(&self, id: &JobId) -> Option<Turn<'_>> {
        // First that of the gather: its readers do not take the turns of others.
        let of_this = self.of(id).lock_owned().await;
        let of_all = self.few.acquire().await.ok()?;
        Some(Turn { _of_all: of_all, _of_this: of_this })
    }

    fn of(&self, id: &JobId) -> Arc<tokio::sync::Mutex<()>> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = each.get(&id.uuid()).and_then(Weak::upgrade) {
            return known;
        }
        each.retain(|_, turn| turn.strong_count() > 0);
        let new = Arc::default();
        each.insert(id.uuid(), Arc::downgrade(&new));
        new
    }
}

//! The latest report of a handler, on its way to the store.

use queuebridge_proto::v1::Progress;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Holds the latest report that was not taken yet. Reports are many and cheap,
/// writes few: whoever takes one decides how often.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    latest: Mutex<Option<Progress>>,
    arrived: Notify,
    stored: AtomicBool,
}

impl Reports {
    /// Replaces what was reported before.
    pub(crate) fn put(&self, progress: Progress) {
        *self.latest() = Some(progress);
        self.arrived.notify_one();
    }

    /// The latest report, once.
    pub(crate) fn take(&self) -> Option<Progress> {
        self.latest().take()
    }

    /// Notes that the store holds more about the attempt than that it runs.
    pub(crate) fn note_stored(&self) {
        self.stored.store(true, Ordering::Relaxed);
    }

    /// Whether it does.
    pub(crate) fn stored(&self) -> bool {
        self.stored.load(Ordering::Relaxed)
    }

    /// Waits until there is a report to take.
    pub(crate) async fn wait(&self) {
        while self.latest().is_none() {
            self.arrived.notified().await;
        }
    }

    fn latest(&self) -> MutexGuard<'_, Option<Progress>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

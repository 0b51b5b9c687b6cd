//! What the items of one reply may show together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Jobs that are looked at at once: each may be as large as a record.
const LOOKS: usize = 16;

/// The items of one reply. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct List(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    left: AtomicUsize,
    looks: Semaphore,
}

impl List {
    /// So many bytes for all items: what does not fit is shown by its size.
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Shared { left: AtomicUsize::new(most), looks: Semaphore::new(LOOKS) }))
    }

    /// A place for one look, until it is dropped.
    pub(super) async fn look(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.0.looks.acquire().await.ok()
    }

    /// Takes so many bytes of what is left, or nothing.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let (order, left) = (Ordering::Relaxed, &self.0.left);
        left.fetch_update(order, order, |left| left.checked_sub(bytes)).is_ok()
    }

    /// Gives back what was taken in vain.
    pub(super) fn give_back(&self, bytes: usize) {
        self.0.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

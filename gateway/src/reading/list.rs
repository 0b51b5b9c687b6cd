//! What the items of one reply may show together, while they are not handed on.

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

    /// One of the items.
    pub(crate) fn item(&self) -> Item {
        Item(Arc::new(Part { list: self.clone(), taken: AtomicUsize::new(0) }))
    }
}

/// One item, and what it takes of the list until its last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Item(Arc<Part>);

#[derive(Debug)]
struct Part {
    list: List,
    taken: AtomicUsize,
}

impl Item {
    /// A place for one look, until it is dropped.
    pub(super) async fn look(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.0.list.0.looks.acquire().await.ok()
    }

    /// Takes so many bytes of what is left, or nothing.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let (order, left) = (Ordering::Relaxed, &self.0.list.0.left);
        let taken = left.fetch_update(order, order, |left| left.checked_sub(bytes)).is_ok();
        if taken {
            self.0.taken.fetch_add(bytes, order);
        }
        taken
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.list.0.left.fetch_add(*self.taken.get_mut(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_gives_back_what_it_took_when_it_is_handed_on() {
        let list = List::new(10);
        let (one, two) = (list.item(), list.item());
        assert!(one.take(6) && !two.take(6) && two.take(4));
        let shown = one.clone();
        drop(one);
        assert!(!two.take(1));
        drop(shown);
        assert!(two.take(6) && !two.take(1));
    }
}

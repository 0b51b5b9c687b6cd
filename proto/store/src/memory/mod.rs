//! The stores in memory, for the embedded stack and for tests.
//!
//! Nothing runs in the background: every write drops a few entries whose time
//! is over by its own `now`, more than it adds, so that the memory follows the
//! load. Readers judge by the clock and do not depend on it.

mod agenda;
mod gathers;
mod leases;
mod payloads;
mod results;
mod streams;
mod submissions;

pub use payloads::MemoryPayloadStore;
pub use results::MemoryResultStore;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// No critical section here can be left half done by a panic, so a poisoned
/// lock is as good as any other.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What the gateway knows of services, its own and those behind it: read from
//! files, learned from upstreams, exchanged while it runs.

pub mod files;
pub mod learn;
mod snapshot;
pub(crate) mod upstreams;
pub(crate) mod view;

pub use snapshot::Snapshot;

use queuebridge_web::{DescriptorError, Descriptors, LeftOut, Pool, pool};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Says whether some route takes a method, `/package.Service/Method`.
pub type Routed = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The descriptors of all sources. A reader gets what is current and keeps it as
/// long as it likes; a writer exchanges one source as a whole.
///
/// Every source stays apart, because two services may have files of the same name.
/// Where two sources know a service of one name, the gateway's own go before those
/// of files, and these before learned ones.
#[derive(Default)]
pub struct DescriptorRegistry {
    sources: Mutex<Sources>,
    current: RwLock<Arc<Snapshot>>,
}

#[derive(Default)]
struct Sources {
    own: Pool,
    files: Vec<Pool>,
    learned: BTreeMap<String, Pool>,
    /// `None`: all are.
    routed: Option<Routed>,
}

impl DescriptorRegistry {
    /// Sets the gateway's own descriptors, and which methods of others are routed:
    /// services without any are not listed.
    ///
    /// # Errors
    /// The sets cannot be read; nothing has changed.
    pub fn open(&self, own: &[&[u8]], routed: Routed) -> Result<(), DescriptorError> {
        let own = pool(own.iter().copied())?;
        self.change(|sources| {
            sources.own = own;
            sources.routed = Some(routed);
        });
        Ok(())
    }

    /// Exchanges what was read from files.
    pub fn replace_files(&self, files: Vec<Pool>) {
        self.change(|sources| sources.files = files);
    }

    /// Exchanges what was learned from `source`, the name of an upstream: a
    /// serialized `FileDescriptorSet` with everything that its files import. Answers what
    /// of it cannot be used.
    ///
    /// # Errors
    /// The set cannot be read; what was known of the source stays.
    pub fn replace(&self, source: &str, set: &[u8]) -> Result<Vec<LeftOut>, DescriptorError> {
        let learned = pool([set])?;
        let left_out = learned.left_out().to_vec();
        self.change(|sources| drop(sources.learned.insert(source.to_owned(), learned)));
        Ok(left_out)
    }

    /// Forgets what was learned from `source`.
    pub fn forget(&self, source: &str) {
        self.change(|sources| drop(sources.learned.remove(source)));
    }

    /// All that is known now.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The methods that are known now.
    #[must_use]
    pub fn descriptors(&self) -> Arc<Descriptors> {
        self.current().descriptors.clone()
    }

    /// Changes the sources. The lock on them orders the writers, so that the last
    /// snapshot is that of the last change; readers wait for the exchange alone.
    fn change(&self, change: impl FnOnce(&mut Sources)) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut sources);
        let Sources { own, files, learned, routed } = &*sources;
        let others = files.iter().chain(learned.values()).cloned().collect();
        let snapshot = Snapshot::new(own.clone(), others, routed.as_deref());
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }
}

impl fmt::Debug for DescriptorRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DescriptorRegistry").field(&self.current().services()).finish()
    }
}

#[cfg(test)]
pub(crate) mod tests;

//! Where metrics go.

use queuebridge_proto::MethodName;
use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most methods that have metrics of their own in one process.
const MAX_METHODS: usize = 200;

/// Metrics in CloudWatch's embedded metric format: a line or a few per batch,
/// written to standard output, which Lambda hands to CloudWatch Logs. Elsewhere
/// an agent does.
pub struct Emf {
    namespace: String,
    out: Mutex<Box<dyn Write + Send>>,
    methods: Mutex<HashSet<MethodName>>,
    cold: AtomicBool,
}

impl Emf {
    /// Metrics of this namespace on standard output. With `cold_start` the first
    /// batch counts as one.
    #[must_use]
    pub fn stdout(namespace: impl Into<String>, cold_start: bool) -> Self {
        Self::to(io::stdout(), namespace, cold_start)
    }

    /// Metrics of this namespace, written to `out`.
    #[must_use]
    pub fn to(
        out: impl Write + Send + 'static,
        namespace: impl Into<String>,
        cold_start: bool,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            out: Mutex::new(Box::new(out)),
            methods: Mutex::default(),
            cold: AtomicBool::new(cold_start),
        }
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether this is the process's first batch in an environment that has cold
    /// starts: true once at most.
    pub(super) fn take_cold_start(&self) -> bool {
        self.cold.swap(false, Ordering::Relaxed)
    }

    /// Remembers methods that exist here.
    pub(super) fn proven<'m>(&self, methods: impl Iterator<Item = &'m MethodName>) {
        let mut known = lock(&self.methods);
        for method in methods {
            if known.len() < MAX_METHODS && !known.contains(method) {
                known.insert(method.clone());
            }
        }
    }

    /// Whether a method may have metrics of its own. Callers may name methods
    /// that do not exist, and each would cost a metric for ever: so only those
    /// that a handler has answered here count.
    pub(super) fn knows(&self, method: &MethodName) -> bool {
        lock(&self.methods).contains(method)
    }

    /// Writes whole lines. A closed output loses metrics and nothing else.
    pub(super) fn write(&self, lines: &str) {
        let mut out = lock(&self.out);
        if let Err(error) = out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
            tracing::warn!(%error, "metrics were not written");
        }
    }
}

impl fmt::Debug for Emf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emf").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

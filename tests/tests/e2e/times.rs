//! How long each test took.

use libtest_mimic::{Failed, Trial};
use std::sync::Mutex;
use std::time::{Duration, Instant};

static TIMES: Mutex<Vec<(String, Duration)>> = Mutex::new(Vec::new());

/// A test whose time is kept.
pub(crate) fn test(
    name: impl Into<String>,
    run: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let name = name.into();
    Trial::test(name.clone(), move || {
        let _kept = Timed { name, begun: Instant::now() };
        run()
    })
}

/// Keeps the time when it is dropped, also by a panic.
struct Timed {
    name: String,
    begun: Instant,
}

impl Drop for Timed {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.name);
        TIMES.lock().unwrap().push((name, self.begun.elapsed()));
    }
}

/// The tests that have ended and the time of each, the slowest first.
pub(crate) fn all() -> Vec<(String, Duration)> {
    let mut times = std::mem::take(&mut *TIMES.lock().unwrap());
    times.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
    times
}

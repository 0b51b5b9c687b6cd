//! The wall clock, as the programs hand it down.

use queuebridge_proto::UnixMillis;
use std::time::SystemTime;

/// Where a program's time comes from.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Source);

#[derive(Clone, Copy, Debug)]
enum Source {
    System,
    Simulated { start: UnixMillis, since: tokio::time::Instant },
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that shows `start` now and moves with the runtime's time, which
    /// tests can pause and advance.
    #[must_use]
    pub fn simulated(start: UnixMillis) -> Self {
        Self(Source::Simulated { start, since: tokio::time::Instant::now() })
    }

    /// The time now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
    pub fn now(&self) -> UnixMillis {
        match self.0 {
            Source::System => SystemTime::now().into(),
            Source::Simulated { start, since } => start.plus(since.elapsed()),
        }
    }
}

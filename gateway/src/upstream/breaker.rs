//! Leaves an upstream alone for a moment that could not be reached several times.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Failures in a row after which no further connection is tried for a moment.
const FAILURES: u32 = 3;
/// The moment: short enough that a restarted server is found at once by human
/// measure, long enough that a dead one costs its callers nothing.
const PAUSE: Duration = Duration::from_secs(1);

/// Counts failed connections in a row. After too many it says no for a moment;
/// then one more failure is enough to say no again.
#[derive(Debug)]
pub struct CircuitBreaker {
    failures: u32,
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    in_a_row: u32,
    closed_at: Option<Instant>,
}

impl CircuitBreaker {
    /// One that opens after `failures` in a row, for `pause`.
    #[must_use]
    pub fn new(failures: u32, pause: Duration) -> Self {
        Self { failures, pause, state: Mutex::default() }
    }

    /// Another one with the same bounds.
    #[must_use]
    pub(crate) fn like_it(&self) -> Self {
        Self::new(self.failures, self.pause)
    }

    /// Whether the last connection could not be made.
    #[must_use]
    pub(crate) fn is_failing(&self) -> bool {
        self.state().in_a_row > 0
    }

    /// How long nothing should be tried any more; `None`: now is right.
    #[must_use]
    pub fn open_for(&self, now: Instant) -> Option<Duration> {
        let closed_at = self.state().closed_at?;
        closed_at.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// A connection was made.
    pub fn succeeded(&self) {
        *self.state() = State::default();
    }

    /// No connection could be made.
    pub fn failed(&self, now: Instant) {
        let mut state = self.state();
        state.in_a_row = state.in_a_row.saturating_add(1);
        if state.in_a_row >= self.failures {
            state.closed_at = Some(now + self.pause);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self::new(FAILURES, PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_by_itself() {
        let breaker = CircuitBreaker::new(2, Duration::from_secs(1));
        let start = Instant::now();
        breaker.failed(start);
        assert_eq!(breaker.open_for(start), None);
        breaker.failed(start);
        let later = start + Duration::from_millis(400);
        assert_eq!(breaker.open_for(later), Some(Duration::from_millis(600)));
        let end = start + Duration::from_secs(1);
        assert_eq!(breaker.open_for(end), None);
        // One more is enough now.
        breaker.failed(end);
        assert!(breaker.open_for(end).is_some());
    }

    #[test]
    fn a_success_forgets_the_failures() {
        let breaker = CircuitBreaker::new(2, Duration::from_secs(1));
        let now = Instant::now();
        breaker.failed(now);
        breaker.succeeded();
        breaker.failed(now);
        assert_eq!(breaker.open_for(now), None);
        breaker.failed(now);
        breaker.succeeded();
        assert_eq!(breaker.open_for(now), None);
    }
}

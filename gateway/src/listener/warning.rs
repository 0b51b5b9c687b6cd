//! Warnings about what others do, of which there may be thousands in a second.

use std::time::Duration;
use tokio::time::Instant;

/// One line in this time is enough to be noticed.
const PAUSE: Duration = Duration::from_secs(10);

/// Counts, and says now and then that it is time to tell.
#[derive(Debug, Default)]
pub(super) struct Warning {
    untold: u64,
    told: Option<Instant>,
}

impl Warning {
    /// Counts one; returns how many there were since the last time, if it is time to tell.
    pub(super) fn count(&mut self) -> Option<u64> {
        self.untold += 1;
        let now = Instant::now();
        if self.told.is_some_and(|told| now < told + PAUSE) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_is_told_at_once_and_the_others_together() {
        let mut warning = Warning::default();
        assert_eq!(warning.count(), Some(1));
        assert_eq!(warning.count(), None);
        assert_eq!(warning.count(), None);
        tokio::time::advance(PAUSE).await;
        assert_eq!(warning.count(), Some(3));
    }
}

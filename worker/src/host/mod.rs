//! The hosts: who hands deliveries over and settles their verdicts.

pub mod lambda;
pub mod poller;
mod settle;
pub mod source;
pub mod sqs;

use std::time::Duration;

/// SQS takes a visibility time-out of at most twelve hours, counted from the
/// receive.
const MAX_VISIBILITY: Duration = Duration::from_secs(12 * 60 * 60);

/// Whole seconds for SQS, rounded up and cut to what is allowed. A message that
/// was just received has nearly all of the twelve hours left; a minute is kept
/// back for what it already used.
fn visibility_seconds(after: Duration) -> i32 {
    let after = after.min(MAX_VISIBILITY - Duration::from_secs(60));
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visibility_is_in_whole_seconds_and_within_the_limit() {
        assert_eq!(visibility_seconds(Duration::ZERO), 0);
        assert_eq!(visibility_seconds(Duration::from_millis(1)), 1);
        assert_eq!(visibility_seconds(Duration::from_secs(90)), 90);
        assert_eq!(visibility_seconds(Duration::MAX), 43_140);
    }
}

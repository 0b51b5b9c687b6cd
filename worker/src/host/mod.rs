//! The hosts: who hands deliveries over and settles their verdicts.

mod connection;
pub mod lambda;
pub mod outbox;
pub mod pointers;
pub mod poller;
pub mod server;
mod settle;
mod sns;
pub mod source;
pub mod sqs;
pub mod targets;
mod urls;

use std::time::Duration;

/// SQS takes a visibility time-out of at most twelve hours, counted from the
/// receive.
const MAX_VISIBILITY: Duration = Duration::from_secs(12 * 60 * 60);

/// Whole seconds for SQS, rounded up. SQS refuses more than what is left of the
/// twelve hours, so of a message that is held for `held` already less is asked,
/// and a minute is kept back for what nobody here has seen.
fn visibility_seconds(after: Duration, held: Duration) -> i32 {
    let left = MAX_VISIBILITY.saturating_sub(held + Duration::from_secs(60));
    let after = after.min(left);
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visibility_is_in_whole_seconds_and_within_the_limit() {
        let (none, secs) = (Duration::ZERO, Duration::from_secs);
        assert_eq!(visibility_seconds(none, none), 0);
        assert_eq!(visibility_seconds(Duration::from_millis(1), none), 1);
        assert_eq!(visibility_seconds(secs(90), none), 90);
        assert_eq!(visibility_seconds(Duration::MAX, none), 43_140);
        assert_eq!(visibility_seconds(Duration::MAX, secs(40_000)), 3_140);
        assert_eq!(visibility_seconds(secs(90), secs(43_199)), 0);
    }
}

//! When a callback that failed is tried again.

use std::time::Duration;

/// The pauses before the second try, the third and so on, in seconds: the example of
/// the Standard Webhooks specification, a little over three days in all.
const PAUSES: [u64; 9] =
    [5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600];
/// No receiver is obeyed for longer.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The pause after `tries` tries in vain; `None` after the last. A random tenth is
/// added, so that callbacks that failed together do not come back together. `random`
/// is from 0 to 1.
pub(super) fn pause(tries: u32, retry_after: Option<Duration>, random: f64) -> Option<Duration> {
    let index = usize::try_from(tries.max(1) - 1).ok()?;
    let pause = Duration::from_secs(*PAUSES.get(index)?);
    let pause = pause.mul_f64(1.0 + random.clamp(0.0, 1.0) / 10.0);
    Some(pause.max(retry_after.unwrap_or_default().min(LONGEST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_tries_over_three_days() {
        let pauses: Vec<_> = (1..).map_while(|tries| pause(tries, None, 0.0)).collect();
        assert_eq!(pauses.len(), 9);
        assert_eq!(pauses[0], Duration::from_secs(5));
        assert!(pauses.is_sorted());
        let all: Duration = pauses.iter().sum();
        assert_eq!(all.as_secs() / 3600, 75);
        assert_eq!(pause(10, None, 0.0), None);
        assert_eq!(pause(u32::MAX, None, 0.0), None);
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_but_not_for_ever() {
        let hour = Duration::from_secs(3600);
        assert_eq!(pause(1, Some(hour), 1.0), Some(hour));
        assert_eq!(pause(1, Some(hour * 1000), 1.0), Some(LONGEST));
        assert_eq!(pause(9, Some(hour), 0.0), Some(LONGEST));
        assert_eq!(pause(1, None, 1.0), Some(Duration::from_millis(5_500)));
    }
}

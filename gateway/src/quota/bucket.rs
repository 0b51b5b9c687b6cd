//! A token bucket that keeps one instant (the generic cell rate algorithm).

use std::time::Duration;
use tokio::time::Instant;

/// How much, how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
}

/// When the bucket will be full again.
#[derive(Debug, Default)]
pub(super) struct Bucket(Option<Instant>);

impl Bucket {
    /// Takes one, or says when there will be one.
    pub(super) fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let each = Duration::from_secs(1) / rate.per_second.max(1);
        let full = self.0.map_or(now, |full| full.max(now)) + each;
        let most = each * rate.burst.max(1);
        match (full - now).checked_sub(most) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.0 = Some(full);
                Ok(())
            }
        }
    }

    /// Takes so many that were used already: whoever comes next waits for them as well. At
    /// most two bursts are owed, however many calls have used them: some may be made with
    /// fewer rights than those have who then wait.
    pub(super) fn owe(&mut self, count: u32, rate: Rate, now: Instant) {
        let each = Duration::from_secs(1) / rate.per_second.max(1);
        let burst = each * rate.burst.max(1);
        let full = self.0.map_or(now, |full| full.max(now)) + burst.min(each * count);
        self.0 = Some(full.min(now + 2 * burst));
    }

    /// Whether there is one to take.
    pub(super) fn has_one(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        Self(self.0).take(rate, now)
    }

    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.0.is_none_or(|full| full <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate(
            per_second in 1u32..1_000,
            burst in 1u32..100,
            pauses in prop::collection::vec(0u64..50, 1..200),
        ) {
            let (rate, begun) = (Rate { per_second, burst }, Instant::now());
            let (mut bucket, mut now, mut taken) = (Bucket::default(), begun, 0u32);
            for pause in pauses {
                now += Duration::from_millis(pause);
                match bucket.take(rate, now) {
                    Ok(()) => taken += 1,
                    // Who waits as long as it says is let in then.
                    Err(wait) => {
                        now += wait;
                        prop_assert!(bucket.take(rate, now).is_ok());
                        taken += 1;
                    }
                }
                let most = f64::from(burst) + (now - begun).as_secs_f64() * f64::from(per_second);
                prop_assert!(f64::from(taken) <= most + 1e-3);
            }
        }
    }
}

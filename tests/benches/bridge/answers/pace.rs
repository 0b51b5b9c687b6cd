//! Calls at a pace that does not wait for their answers.

use crate::Failure;
use crate::load::Caller;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// The shortest pause between two bursts: finer is below what timers can.
const BURST: Duration = Duration::from_millis(1);

/// What came of it. Times in milliseconds, from when a call was due.
#[derive(Debug)]
pub(super) struct Paced {
    pub(super) rate: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) done: u64,
    pub(super) first_failure: Option<String>,
}

/// Lets the callers call, in turns, so many times per second, for so long.
pub(super) async fn at<C: Caller + Clone>(
    callers: &[C],
    per_second: f64,
    time: Duration,
) -> Result<Paced, Failure> {
    let mut running = JoinSet::new();
    let begun = Instant::now();
    let mut turns = callers.iter().cycle();
    let (mut started, mut now) = (0u64, Duration::ZERO);
    while now < time {
        let due_by_now = (now.as_secs_f64() * per_second) as u64 + 1;
        while started < due_by_now {
            let due = begun + Duration::from_secs_f64(started as f64 / per_second);
            let mut caller = turns.next().ok_or("there is no caller")?.clone();
            running.spawn(async move {
                let called = caller.call().await;
                called.map(|_| due.elapsed())
            });
            started += 1;
        }
        let next = begun + Duration::from_secs_f64(started as f64 / per_second);
        sleep_until(next.max(Instant::now() + BURST.min(next - begun))).await;
        now = begun.elapsed();
    }
    let (mut times, mut first_failure) = (Vec::new(), None);
    while let Some(called) = running.join_next().await {
        match called? {
            Ok(time) => times.push(time.as_secs_f64() * 1e3),
            Err(error) => first_failure = first_failure.or(Some(error)),
        }
    }
    if times.is_empty() {
        return Err(first_failure.unwrap_or_else(|| "nothing was called".to_owned()).into());
    }
    times.sort_by(f64::total_cmp);
    let percentile = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    let rate = times.len() as f64 / time.as_secs_f64();
    let (p50, p99) = (percentile(50), percentile(99));
    Ok(Paced { rate, p50, p99, done: times.len() as u64, first_failure })
}

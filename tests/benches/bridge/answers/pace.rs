//! Calls at a pace that does not wait for their answers.

use crate::Failure;
use crate::load::Caller;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::{JoinSet, spawn_blocking};

/// What came of it. Times in milliseconds, from when a call was due.
#[derive(Debug)]
pub(crate) struct Paced {
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) done: u64,
    pub(crate) first_failure: Option<String>,
}

/// Lets the callers call, in turns, so many times per second, for so long.
pub(crate) async fn at<C: Caller + Clone>(
    callers: &[C],
    per_second: f64,
    time: Duration,
) -> Result<Paced, Failure> {
    // A thread of its own keeps the time: the runtime's timers are too coarse.
    let (callers, runtime) = (callers.to_vec(), Handle::current());
    let started = spawn_blocking(move || {
        let mut running = JoinSet::new();
        let begun = Instant::now();
        for (number, caller) in callers.iter().cycle().enumerate() {
            let after = Duration::from_secs_f64(number as f64 / per_second);
            if after >= time {
                break;
            }
            let due = begun + after;
            #[expect(clippy::disallowed_methods, reason = "a thread of its own, for blocking")]
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let mut caller = caller.clone();
            let call = async move { caller.call().await.map(|_| due.elapsed()) };
            running.spawn_on(call, &runtime);
        }
        running
    });
    let mut running = started.await?;
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

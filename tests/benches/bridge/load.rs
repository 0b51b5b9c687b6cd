//! Callers that call again and again, and what is measured meanwhile.

use crate::Failure;
use crate::args::Args;
use crate::child::{Child, Counters};
use crate::usage::Usage;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::sleep;

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

/// After a refusal: enough that refusals are not what is measured.
const AFTER_FAILURE: Duration = Duration::from_millis(1);

/// Something that one caller does over and over.
pub(crate) trait Caller: Send + 'static {
    /// Does it once. Returns how many jobs or messages that were.
    fn call(&mut self) -> impl Future<Output = Result<u64, String>> + Send;
}

/// One measurement.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Jobs, calls or messages per second.
    pub(crate) rate: f64,
    /// Of one call, in milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// CPU milliseconds per 1,000 jobs of the server and of this process.
    pub(crate) server_cpu: Option<f64>,
    pub(crate) own_cpu: f64,
    /// Resident memory of the server in MiB at the end.
    pub(crate) resident: Option<f64>,
    /// What the server's counters have gone up by, per job.
    pub(crate) counted: Option<[f64; 2]>,
    pub(crate) failures: u64,
    pub(crate) first_failure: Option<String>,
}

#[derive(Default)]
struct Tally {
    done: u64,
    micros: Vec<u32>,
    failures: u64,
    first_failure: Option<String>,
}

/// Lets the callers call, and measures after the warm-up. `server` is whom they
/// call, if it is a process of ours.
pub(crate) async fn run<C: Caller>(
    args: &Args,
    callers: Vec<C>,
    mut server: Option<&mut Child>,
) -> Result<Sample, Failure> {
    let phase = Arc::new(AtomicU8::new(WARMING));
    let mut running = JoinSet::new();
    for caller in callers {
        running.spawn(call_until_over(caller, phase.clone()));
    }
    sleep(args.warm_up).await;
    let before = Reading::take(&mut server).await?;
    phase.store(MEASURING, Ordering::Relaxed);
    let begun = Instant::now();
    sleep(args.measure).await;
    let elapsed = begun.elapsed().as_secs_f64();
    phase.store(OVER, Ordering::Relaxed);
    let after = Reading::take(&mut server).await?;
    let mut all = Tally::default();
    while let Some(tally) = running.join_next().await {
        let tally = tally?;
        all.done += tally.done;
        all.failures += tally.failures;
        all.micros.extend(tally.micros);
        all.first_failure = all.first_failure.or(tally.first_failure);
    }
    if all.done == 0 {
        let why = all.first_failure.unwrap_or_else(|| "no answer came in time".to_owned());
        return Err(format!("nothing was done: {why}").into());
    }
    all.micros.sort_unstable();
    let percentile = |percent: usize| {
        let index = (all.micros.len() * percent / 100).min(all.micros.len() - 1);
        f64::from(all.micros[index]) / 1e3
    };
    let jobs = all.done as f64;
    let cpu = |before: Usage, after: Usage| {
        (after.cpu.saturating_sub(before.cpu)).as_secs_f64() * 1e3 / (jobs / 1e3)
    };
    let pair = before.server.zip(after.server);
    let counted = |(before, after): ((Usage, Counters), (Usage, Counters))| {
        [0, 1].map(|i| after.1[i].saturating_sub(before.1[i]) as f64 / jobs)
    };
    Ok(Sample {
        rate: jobs / elapsed,
        p50: percentile(50),
        p99: percentile(99),
        server_cpu: pair.map(|(before, after)| cpu(before.0, after.0)),
        own_cpu: cpu(before.own, after.own),
        resident: after.server.map(|(usage, _)| usage.resident as f64 / f64::from(1 << 20)),
        counted: pair.map(counted),
        failures: all.failures,
        first_failure: all.first_failure,
    })
}

async fn call_until_over<C: Caller>(mut caller: C, phase: Arc<AtomicU8>) -> Tally {
    let mut tally = Tally::default();
    loop {
        let begun = Instant::now();
        let result = caller.call().await;
        let phase = phase.load(Ordering::Relaxed);
        if phase == OVER {
            return tally;
        }
        match result {
            Ok(done) if phase == MEASURING => {
                tally.done += done;
                tally.micros.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            Ok(_) => {}
            Err(error) => {
                tally.failures += u64::from(phase == MEASURING);
                tally.first_failure.get_or_insert(error);
                sleep(AFTER_FAILURE).await;
            }
        }
    }
}

struct Reading {
    own: Usage,
    server: Option<(Usage, Counters)>,
}

impl Reading {
    async fn take(server: &mut Option<&mut Child>) -> Result<Self, Failure> {
        let server = match server {
            Some(server) => Some((server.usage()?, server.counters().await?)),
            None => None,
        };
        Ok(Self { own: Usage::own()?, server })
    }
}

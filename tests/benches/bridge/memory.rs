//! Memory over a million jobs that are kept for seconds: it must stay flat.

use crate::Failure;
use crate::args::Args;
use crate::child::Child;
use crate::grpc::{Answer, Connections, Submitter};
use crate::load::Caller;
use crate::serve;
use crate::targets::Targets;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::task::JoinSet;

const STEPS: u64 = 10;
/// Expiry, result retention and queue retention: long enough that no job
/// expires before it is run, short enough that a tombstone, which outlives all
/// three, is gone long before the run is half over.
const KEEP_SECONDS: &str = "3";
/// What is noise of the allocator and not growth. A leak of a byte per job would
/// stay below; of a hundred it does not.
const FLAT: f64 = 1.03;

pub(crate) async fn run(args: &Args, targets: &mut Targets) -> Result<(), Failure> {
    let step = args.jobs.div_ceil(STEPS);
    println!("\nMemory: {} jobs, kept for {KEEP_SECONDS} s", args.jobs);
    println!("{:>10}  {:>8}  {:>8}  {:>8}", "jobs", "jobs/s", "RSS MiB", "failed");
    let server = Child::start(&[serve::STACK, KEEP_SECONDS]).await?;
    let connections = Connections::open(server.url(), args.connections).await?;
    let mut resident = Vec::new();
    for done in 1..=STEPS {
        let left = Arc::new(AtomicU64::new(step));
        let begun = Instant::now();
        let mut running = JoinSet::new();
        let new = |channel| Submitter::new(channel, Answer::SameCall);
        for caller in connections.callers(args.callers, new) {
            running.spawn(call_while_left(caller, left.clone()));
        }
        let failed: u64 = running.join_all().await.iter().sum();
        let rate = step as f64 / begun.elapsed().as_secs_f64();
        let mib = server.usage()?.resident as f64 / f64::from(1 << 20);
        println!("{:>10}  {rate:>8.0}  {mib:>8.1}  {failed:>8}", done * step);
        resident.push(mib);
    }
    server.stop().await?;
    let growth = resident[resident.len() - 1] / resident[resident.len() / 2 - 1];
    targets.at_most("memory: at the end, of half-way".to_owned(), FLAT, growth);
    Ok(())
}

/// Calls until the jobs of this step are used up. Returns how many failed.
async fn call_while_left(mut caller: Submitter, left: Arc<AtomicU64>) -> u64 {
    let mut failed = 0;
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
        if caller.call().await.is_err() {
            failed += 1;
        }
    }
    failed
}

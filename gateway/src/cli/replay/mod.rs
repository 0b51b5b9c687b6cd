//! `replay`: parked messages become new jobs.
//!
//! A message is deleted only after its new job was accepted, and the request id
//! of that follows from the old job: whenever the command is stopped or killed,
//! each message is parked, or a job, and repeating the command makes no second
//! job.

mod args;
mod held;
mod parked;
mod pass;
mod queue;
mod report;
mod selection;
mod submit;

pub use args::ReplayArgs;

use super::Exit;
use super::client::to_stdout;
use super::connect::connect;
use super::failure::Failure;
use crate::config::ReplayConfig;
use crate::encryption;
use pass::{End, Pass};
use queue::ParkingQueue;
use queuebridge_store::s3::S3PayloadStore;
use queuebridge_store::{Clock, Seal};
use report::Summary;
use selection::Selection;
use std::sync::Arc;
use submit::{Pace, Submitter};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub(super) async fn run(args: ReplayArgs) -> Result<Exit, Failure> {
    let config =
        ReplayConfig::from_process(args.config.config.as_deref()).map_err(Failure::Config)?;
    let stopping = stopped_by_signals().map_err(|error| Failure::Other(error.to_string()))?;
    let sdk = crate::aws::sdk_config().await;
    let encryption = config.encryption.map(|all| encryption::replay(&all, &config.table, &sdk));
    let payloads = config.payload_bucket.map(|bucket| {
        let s3 = queuebridge_store::aws::s3(&sdk);
        let store = S3PayloadStore::new(s3, bucket, config.payload_prefix);
        encryption::payloads(Arc::new(store), encryption.as_ref())
    });
    let submitter = match args.dry_run {
        true => None,
        false => Some(Submitter {
            jobs: connect(&args.gateway).await?,
            payloads,
            max_message_bytes: config.max_message_bytes,
            pace: Pace::per_second(args.rate),
        }),
    };
    let pass = Pass {
        selection: Selection::of(&args),
        queue: ParkingQueue::new(&sdk, args.parking_queue),
        seal: Seal::new(config.envelope_keys, encryption),
        callback_queue: args.callback_queue,
        submitter,
        limit: args.limit.unwrap_or(u64::MAX),
        as_json: args.json,
        clock: Clock::system(),
        stopping,
    };
    let (summary, end) = pass.run().await;
    let line = format!("{}\n", summary.line(args.json));
    to_stdout(line.as_bytes()).map_err(|error| Failure::File("-".into(), error))?;
    exit(&summary, end)
}

fn exit(summary: &Summary, end: End) -> Result<Exit, Failure> {
    match end {
        End::Failed(failure) => Err(failure),
        End::Stopped | End::Full => Ok(Exit::StillRunning),
        End::Whole | End::Limit if summary.stayed == 0 && summary.missing.is_empty() => {
            Ok(Exit::Success)
        }
        End::Whole | End::Limit => Ok(Exit::JobFailed),
    }
}

/// Fires at SIGINT and SIGTERM, which from here on do not end the process by
/// themselves.
fn stopped_by_signals() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stopping = CancellationToken::new();
    let told = stopping.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        eprintln!("stopping: what is in hand is finished first");
        told.cancel();
    });
    Ok(stopping)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_exit_code() {
        let sums = |stayed, missing: &[&str]| Summary {
            stayed,
            missing: missing.iter().map(|job| (*job).to_owned()).collect(),
            ..Summary::default()
        };
        for (expected, summary, end) in [
            (Exit::Success, sums(0, &[]), End::Whole),
            (Exit::Success, sums(0, &[]), End::Limit),
            (Exit::JobFailed, sums(1, &[]), End::Limit),
            (Exit::JobFailed, sums(0, &["job"]), End::Whole),
            (Exit::StillRunning, sums(0, &[]), End::Stopped),
            (Exit::StillRunning, sums(1, &[]), End::Full),
        ] {
            assert_eq!(exit(&summary, end).unwrap(), expected, "{summary:?}");
        }
        let failed = End::Failed(Failure::Other("no queue".into()));
        assert_eq!(exit(&sums(0, &[]), failed).unwrap_err().exit(), Exit::CallFailed);
    }
}

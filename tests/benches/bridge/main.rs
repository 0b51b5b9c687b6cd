//! Queuebridge beside what it is measured against: a bare gRPC call in front,
//! the bare AWS SDK behind.
//!
//! `cargo bench` runs it; `--help` after `--` lists the arguments. The servers
//! are this same program started again, each as a process of its own, so that
//! CPU time and memory are told apart from those of the load generator. Nothing
//! here fails for being slow: the figures stand beside the targets.

mod abuse;
mod answers;
mod args;
mod branches;
mod child;
mod direct;
mod embedded;
mod encryption;
mod endpoint;
mod endpoints;
mod grpc;
mod load;
mod memory;
mod report;
mod serve;
mod sqs;
mod targets;
mod usage;

use args::{Args, Group};
use std::error::Error;
use std::process::ExitCode;
use targets::Targets;

/// What went wrong, for a person to read: a broken set-up, never a slow one.
type Failure = Box<dyn Error + Send + Sync>;

// Many small allocations on several threads: the allocator of
// the programs that are measured, for the echo server too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let done = match given.first().map(String::as_str) {
        Some(child::SERVE) => serve::run(&given[1..]).await,
        // `cargo test --benches` starts this without the argument that
        // `cargo bench` gives, and means: show that it can be started.
        _ if !given.iter().any(|argument| argument == "--bench") => Ok(()),
        _ => measure(&given).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(given: &[String]) -> Result<(), Failure> {
    let Some(args) = Args::parse(given)? else {
        println!("{}", args::HELP);
        return Ok(());
    };
    println!(
        "256-byte payloads, {} callers on {} connections, {} s after {} s of warm-up, \
         median of {}",
        args.callers,
        args.connections,
        args.measure.as_secs(),
        args.warm_up.as_secs(),
        args.rounds,
    );
    let mut targets = Targets::default();
    let mut echo_cpu = None;
    if args.runs(Group::Echo) {
        echo_cpu = embedded::run(&args, &mut targets).await?;
    }
    if args.runs(Group::Endpoint) {
        for endpoint in endpoints::Kind::ALL {
            // One that cannot be installed here does not spoil the other.
            match endpoints::Running::start(endpoint).await {
                Ok(running) => endpoint::run(&args, &running, echo_cpu, &mut targets).await?,
                Err(error) => println!("\n(d) not over {}: {error}", endpoint.name()),
            }
        }
    }
    if args.runs(Group::Answers) {
        answers::run(&args, &mut targets).await?;
    }
    if args.runs(Group::Branches) {
        branches::run(&args).await?;
    }
    if args.runs(Group::Direct) {
        direct::run(&args, &mut targets).await?;
    }
    if args.runs(Group::Abuse) {
        abuse::run(&args, &mut targets).await?;
    }
    if args.runs(Group::Encryption) {
        encryption::run(&args).await?;
    }
    if args.runs(Group::Memory) {
        memory::run(&args, &mut targets).await?;
    }
    targets.print();
    Ok(())
}

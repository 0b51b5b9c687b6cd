//! `queuebridge-local`: the whole bridge in one process, with the demo services.

use clap::Parser;
use queuebridge_gateway::config::{BranchConfig, CallConfig, FanOut, Mode};
use queuebridge_local::{Branches, HostPattern, Over, Stack};
use queuebridge_proto::v1::GatherRule;
use queuebridge_proto::v1::gather_rule::Answer;
use std::net::SocketAddr;
use std::process::ExitCode;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

// Many small allocations on several threads, freed on others: less CPU per job
// than with the system's allocator, and less memory kept.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gateway, queue, worker with the demo services, and store in one process.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Where the gateway listens; port 0 lets the system choose one.
    #[arg(long, default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
    /// Names that the gateway answers to, beside addresses and localhost, with commas, such
    /// as `queuebridge,*.internal`.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    hosts: Vec<HostPattern>,
    /// Use SQS, DynamoDB and S3 at this endpoint instead of memory, and create
    /// there what is needed. Credentials and region come from the environment.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Jobs that run at once.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    /// Keep messages, unfinished jobs and results for this many seconds only.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// How Images/Analyze reaches its three branches: over a topic, or by a queue for each.
    #[arg(long, value_enum, default_value = "topic")]
    branches: Way,
    /// Nobody works for this branch of Images/Analyze (thumbnail, describe or assess):
    /// repeatable.
    #[arg(long = "without-branch", value_name = "NAME")]
    without: Vec<String>,
    /// What is logged: a level, or `target=level,…`.
    #[arg(long, default_value = "warn")]
    log: Targets,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Way {
    Topic,
    Queues,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let text = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(options.log.clone()).with(text).init();
    let listener = match tokio::net::TcpListener::bind(options.listen).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("cannot listen on {}: {error}; choose another with --listen", options.listen);
            return ExitCode::from(2);
        }
    };
    greet(&listener.local_addr().unwrap_or(options.listen));
    let stack = stack(&options);
    let routes = queuebridge_demo::routes();
    let shutdown = queuebridge_worker::shutdown_signal();
    match stack.serve_on(listener, routes, shutdown).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn stack(options: &Options) -> Stack {
    let mut stack = Stack {
        listen: options.listen,
        hosts: options.hosts.clone(),
        endpoint: options.endpoint.clone(),
        concurrency: usize::from(options.concurrency),
        descriptor_sets: vec![queuebridge_demo::FILE_DESCRIPTOR_SET],
        branches: analyze(options).into_iter().collect(),
        // All modes can be tried here.
        calls: CallConfig {
            modes: vec![Mode::Sync, Mode::Auto, Mode::Async],
            ..CallConfig::default()
        },
        ..Stack::default()
    };
    if let Some(keep) = options.keep {
        let keep = std::time::Duration::from_secs(u64::from(keep));
        stack.queue_retention = keep;
        stack.default_expiry = keep;
        stack.default_retention = keep;
    }
    stack
}

/// A picture goes to three workers, each of which fills its part of the answer.
fn analyze(options: &Options) -> Option<Branches> {
    let images = |method| format!("/queuebridge.demo.v1.Images/{method}");
    let branch = |name| BranchConfig::new(name, None);
    let branches = ["thumbnail", "describe", "assess"];
    let answer = Some(Answer::Merge(true));
    Some(Branches {
        methods: images("Analyze").parse().ok()?,
        over: match options.branches {
            Way::Topic => Over::Topic,
            Way::Queues => Over::Queues,
        },
        fan_out: FanOut {
            rule: GatherRule { answer, ..GatherRule::default() },
            branches: branches.map(branch).into(),
        },
        without: options.without.clone(),
    })
}

fn greet(address: &SocketAddr) {
    println!(
        "Queuebridge listens on {address}. Three commands to try, each in another terminal:\n
  cargo run -q -p queuebridge-gateway -- submit --gateway http://{address} \\
      --method /queuebridge.demo.v1.Probe/Echo --data-base64 CgVoZWxsbw== --wait 5s
  cargo run -q -p queuebridge-gateway -- get ID --gateway http://{address} --json
  python3 tests/python/thumbnail.py {address} tests/fixtures/shapes.png thumbnail.png\n"
    );
}

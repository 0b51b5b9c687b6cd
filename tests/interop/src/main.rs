//! `interop`: the interoperability service behind the bridge, or by itself.

use clap::Parser;
use queuebridge_interop::{FILE_DESCRIPTOR_SET, direct, routes};
use queuebridge_local::Stack;
use queuebridge_store::Clock;
use std::net::SocketAddr;
use std::process::ExitCode;
use tokio::net::TcpListener;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// gRPC's interoperability service, called through Queuebridge.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Where to listen; port 0 lets the system choose one.
    #[arg(long, default_value = "127.0.0.1:50053")]
    listen: SocketAddr,
    /// Use SQS, DynamoDB and S3 at this endpoint instead of memory, and create
    /// there what is needed. Credentials and region come from the environment.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Serve without gateway, queue and worker.
    #[arg(long, conflicts_with = "endpoint")]
    direct: bool,
    /// What is logged: a level, or `target=level,…`.
    #[arg(long, default_value = "warn")]
    log: Targets,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let text = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(options.log.clone()).with(text).init();
    let listener = match TcpListener::bind(options.listen).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("cannot listen on {}: {error}; choose another with --listen", options.listen);
            return ExitCode::from(2);
        }
    };
    // Whoever reads the line may call, and may send signals: connections wait until
    // the rest is ready, and signals no longer end the process by themselves.
    let shutdown = queuebridge_worker::shutdown_signal();
    println!("interop listens on {}", listener.local_addr().unwrap_or(options.listen));
    match serve(options, listener, shutdown).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(
    options: Options,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Box<dyn std::error::Error>> {
    let routes = routes(Clock::system());
    if options.direct {
        return Ok(direct::serve(routes, listener, shutdown).await?);
    }
    let stack = Stack {
        listen: options.listen,
        endpoint: options.endpoint,
        name: "queuebridge-interop".to_owned(),
        descriptor_sets: vec![FILE_DESCRIPTOR_SET],
        ..Stack::default()
    };
    Ok(stack.serve_on(listener, routes, shutdown).await?)
}

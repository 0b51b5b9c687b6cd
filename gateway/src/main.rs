//! `queuebridge`: the gateway, and a client for it.

use clap::Parser;
use futures_util::stream;
use queuebridge_gateway::cli::{Cli, Command, ConfigArgs, Exit};
use queuebridge_gateway::config::{self, Config};
use queuebridge_gateway::server::ServeError;
use queuebridge_gateway::{cli, lambda, logging, server};
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};

// Many small allocations on several threads, freed on others: less CPU per job
// than with the system's allocator, and less memory kept.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    // A bootstrap gets no arguments.
    let bootstrap = config::is_lambda() && std::env::args_os().len() <= 1;
    let command =
        if bootstrap { Command::Serve(ConfigArgs::default()) } else { Cli::parse().command };
    let exit = match command {
        Command::Serve(args) => serve(&args).await,
        Command::CheckConfig(args) => check_config(&args),
        Command::Infra(args) => cli::infra(&args),
        Command::ApiKey(args) => cli::api_key::run(args),
        Command::Client(command) => cli::run(*command).await,
    };
    exit.into()
}

async fn serve(args: &ConfigArgs) -> Exit {
    let config = match Config::from_process(args.config.as_deref()) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return Exit::Usage;
        }
    };
    logging::start(&config.log);
    config.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    if config::is_lambda() {
        return ended(lambda::run(config).await);
    }
    // Registered before the first connection is taken: from here on a signal
    // never ends the process by itself.
    let (mut terminate, mut interrupt, mut hangup) = match signals() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("signals cannot be received: {error}");
            return Exit::CallFailed;
        }
    };
    let shutdown = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let reloads = stream::poll_fn(move |context| hangup.poll_recv(context));
    ended(server::run(config, reloads, shutdown).await)
}

fn ended(served: Result<(), ServeError>) -> Exit {
    match served {
        Ok(()) => Exit::Success,
        Err(error) => {
            eprintln!("{error}");
            Exit::CallFailed
        }
    }
}

/// Those that end the process, and the one that makes it read its files again.
fn signals() -> std::io::Result<(Signal, Signal, Signal)> {
    Ok((
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
    ))
}

fn check_config(args: &ConfigArgs) -> Exit {
    match Config::from_process(args.config.as_deref()) {
        Ok(config) => {
            config.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));
            print!("{config}");
            Exit::Success
        }
        Err(errors) => {
            eprintln!("{errors}");
            Exit::Usage
        }
    }
}

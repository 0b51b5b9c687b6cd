//! The command line: the gateway itself, and a client for any gateway.

pub mod api_key;
mod args;
mod client;
mod connect;
mod download;
mod exit;
mod failure;
mod follow;
mod gather;
mod infra;
mod json;
mod replay;
mod show;
mod submission;

pub use api_key::ApiKeyArgs;
pub use args::{Cli, ClientCommand, Command, ConfigArgs, Gateway, Output};
pub use exit::Exit;
pub use infra::{InfraArgs, run as infra};
pub use replay::ReplayArgs;
pub use submission::SubmitArgs;

use queuebridge_proto::printable::{self, Printable};

/// Runs a command of the client and says how the program ends. Answers go to
/// the standard output, everything else to the standard error.
pub async fn run(command: ClientCommand) -> Exit {
    let as_json = command.is_json();
    client::run(command).await.unwrap_or_else(|failure| {
        if as_json {
            eprintln!("{}", printable::json(&failure.json().to_string()));
            return failure.exit();
        }
        // Servers have a say in it: in their certificates, for example.
        failure.to_string().lines().for_each(|line| eprintln!("{}", Printable(line)));
        failure.exit()
    })
}

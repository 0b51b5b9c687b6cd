//! What may stand on the command line.

use super::api_key::ApiKeyArgs;
use super::infra::InfraArgs;
use super::replay::ReplayArgs;
use super::submission::SubmitArgs;
use crate::config::parse_duration;
use clap::{Args, Parser, Subcommand};
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;
use tonic::transport::Endpoint;

const EXIT_CODES: &str = "\
Exit codes:
  0  the job succeeded; submit: it was accepted; cancel: the cancellation stands;
     replay: everything that was selected is a new job
  1  the job failed, was cancelled or expired; cancel: it had finished before;
     replay: selected messages stay parked, or a named job has none
  2  the command line or the configuration is wrong
  3  the call itself failed, or the server could not run
  4  the job is not finished yet; replay: stopped before the end";

/// Queuebridge: gRPC calls as jobs through queues.
#[derive(Debug, Parser)]
#[command(name = "queuebridge", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway until SIGTERM or SIGINT
    Serve(ConfigArgs),
    /// Print the effective configuration, or every mistake in it
    CheckConfig(ConfigArgs),
    /// Write the CloudFormation templates of what a configuration names
    Infra(InfraArgs),
    /// Make an API key: its entry for the file of keys goes to the standard output, and
    /// the key itself, once, to the standard error
    ApiKey(ApiKeyArgs),
    /// Everything that is a client's.
    #[command(flatten)]
    Client(Box<ClientCommand>),
}

/// Where the configuration is.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfigArgs {
    /// TOML file, or else the one that QB_CONFIG names; every value may also be given, and is
    /// overridden, by a QB_ variable
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The commands of the client.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Submit one job
    Submit(Box<SubmitArgs>),
    /// Show a job as it stands
    Get {
        /// The job's id, or operations/ID as in qb-operation
        #[arg(value_name = "ID", allow_hyphen_values = true, value_parser = job_id)]
        id: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        output: Output,
        #[command(flatten)]
        #[allow(missing_docs)]
        gateway: Gateway,
    },
    /// Wait until a job is finished, and show it
    Wait {
        /// The job's id, or operations/ID as in qb-operation
        #[arg(value_name = "ID", allow_hyphen_values = true, value_parser = job_id)]
        id: String,
        /// How long to wait: 90s, 5m, 12h
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
        timeout: Duration,
        #[command(flatten)]
        #[allow(missing_docs)]
        output: Output,
        #[command(flatten)]
        #[allow(missing_docs)]
        gateway: Gateway,
    },
    /// Submit parked messages as new jobs
    Replay(Box<ReplayArgs>),
    /// Forget the result of a finished job
    Delete {
        /// The job's id, or operations/ID as in qb-operation
        #[arg(value_name = "ID", allow_hyphen_values = true, value_parser = job_id)]
        id: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        gateway: Gateway,
    },
    /// Cancel a job, and show it
    Cancel {
        /// The job's id, or operations/ID as in qb-operation
        #[arg(value_name = "ID", allow_hyphen_values = true, value_parser = job_id)]
        id: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        output: Output,
        #[command(flatten)]
        #[allow(missing_docs)]
        gateway: Gateway,
    },
}

impl ClientCommand {
    /// Whether answers, and failures, are for programs.
    pub(super) fn is_json(&self) -> bool {
        match self {
            Self::Submit(submit) => submit.output.json,
            Self::Get { output, .. } | Self::Wait { output, .. } | Self::Cancel { output, .. } => {
                output.json
            }
            Self::Replay(replay) => replay.json,
            Self::Delete { .. } => false,
        }
    }
}

/// How an answer is shown.
#[derive(Clone, Debug, Default, Args)]
pub struct Output {
    /// Print the job as JSON, and a failure, on the standard error, too
    #[arg(long)]
    pub json: bool,
    /// Write the bytes of the response message to a file, or to the standard
    /// output with "-" (everything else then goes to the standard error); of a
    /// streamed answer each message after its length as a varint
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Which gateway is called, and how the caller shows who it is. A token may also be given
/// as QB_TOKEN.
#[derive(Clone, Debug, Args)]
pub struct Gateway {
    /// The gateway: http://HOST:PORT or https://HOST:PORT
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:50051",
        value_parser = endpoint
    )]
    pub gateway: Endpoint,
    /// PEM file with the authorities that sign the gateway, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// PEM file with the certificate that is shown to the gateway
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// PEM file with its key
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// File with a token or an API key; the variable QB_TOKEN holds one as well
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// The gateway says what is wrong with an id.
#[allow(clippy::unnecessary_wraps)]
fn job_id(text: &str) -> Result<String, Infallible> {
    Ok(text.strip_prefix("operations/").unwrap_or(text).to_owned())
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let expected = "expected http://HOST:PORT or https://HOST:PORT";
    match Endpoint::from_shared(text.to_owned()) {
        Ok(endpoint) if matches!(endpoint.uri().scheme_str(), Some("http" | "https")) => {
            Ok(endpoint)
        }
        _ => Err(expected.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definitions_agree_with_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_is_understood() {
        for good in [
            "queuebridge serve",
            "queuebridge serve --config a.toml",
            "queuebridge check-config --config a.toml",
            "queuebridge infra --config a.toml --function-timeout 30s --function-timeout a=5m",
            "queuebridge submit --method /a.B/C",
            "queuebridge submit --method /a.B/C --file - --wait 30s --json --output out",
            "queuebridge get -abc --json",
            "queuebridge wait -_abc --timeout 5m --gateway http://example.com:1",
            "queuebridge cancel abc --output -",
            "queuebridge delete -abc --token-file token",
            "queuebridge get abc --gateway https://a.com --tls-ca a",
            "queuebridge get abc --gateway https://a.com --tls-certificate a --tls-key b",
        ] {
            assert!(parse(good).is_ok(), "{good}: {}", parse(good).unwrap_err());
        }
    }

    #[test]
    fn the_name_of_an_operation_is_the_id_of_its_job() {
        for given in ["-abc", "operations/-abc"] {
            let Command::Client(command) =
                parse(&format!("queuebridge get {given}")).unwrap().command
            else {
                panic!("no command of the client")
            };
            assert!(matches!(*command, ClientCommand::Get { id, .. } if id == "-abc"));
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_code_for_wrong_usage() {
        for bad in [
            "queuebridge",
            "queuebridge sevre",
            "queuebridge submit",
            "queuebridge submit --method /a.B/C --file a --data-base64 AA==",
            "queuebridge submit --method a.B/C",
            "queuebridge submit --method /a.B/C --metadata novalue",
            "queuebridge submit --method /a.B/C --delay 5",
            "queuebridge wait abc --timeout soon",
            "queuebridge get abc --gateway ftp://example.com",
            "queuebridge get abc --gateway https://example.com --tls-key a",
            "queuebridge get abc --gateway nonsense",
            "queuebridge infra",
            "queuebridge infra --config a.toml --batch-window 301s",
            "queuebridge infra --config a.toml --function-timeout never",
            "queuebridge get",
        ] {
            assert_eq!(parse(bad).unwrap_err().exit_code(), 2, "{bad}");
        }
    }
}

//! The programs as a shell sees them: exit codes, signals, and what they print.

mod configuration;
mod health;
mod ports;

use crate::stage::Stage;
use crate::times::test;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::{Failed, Trial};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tokio::time::timeout;

/// Ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

pub(crate) fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 9] = [
        ("check_config_names_every_mistake_and_no_secret", configuration::mistakes),
        (
            "check_config_prints_a_configuration_without_its_secrets",
            configuration::printed_without_secrets,
        ),
        ("check_config_warns_of_issuers_with_the_same_tenants", configuration::warnings),
        ("serve_refuses_a_misspelt_variable", configuration::misspelt),
        ("a_worker_names_every_mistake_and_no_secret", configuration::mistakes_of_a_worker),
        ("a_worker_shows_its_help_without_an_environment", configuration::help_of_a_worker),
        ("a_worker_refuses_the_arn_of_a_queue", configuration::arn_of_a_worker),
        ("a_taken_port_is_named_and_its_owner_goes_on", ports::taken),
        ("a_gateway_that_stops_tells_its_health_watchers", health::told),
    ];
    let trial = |(name, run): (&str, fn())| {
        test(format!("programs::{name}"), move || {
            run();
            Ok::<(), Failed>(())
        })
    };
    tests.map(trial).into()
}

/// A program of ours with this environment and nothing else.
fn program(name: &str, environment: &[(&'static str, String)]) -> Command {
    let mut command = Command::new(Stage::shared().binaries.join(name));
    command.env_clear().envs(environment.iter().cloned()).stdin(Stdio::null());
    command
}

/// The environment of a gateway that starts; what it names at AWS is not there.
fn gateway() -> Vec<(&'static str, String)> {
    let endpoint = Stage::shared().emulator.endpoint();
    let routes = format!("[{{ methods = \"*\", queue = \"{endpoint}/000000000000/none\" }}]");
    vec![
        ("AWS_ENDPOINT_URL", endpoint.to_owned()),
        ("AWS_ACCESS_KEY_ID", "test".into()),
        ("AWS_SECRET_ACCESS_KEY", "test".into()),
        ("AWS_REGION", "us-east-1".into()),
        ("QB_AUTH", "none".into()),
        ("QB_LISTEN", "127.0.0.1:0".into()),
        ("QB_STORE_TABLE", "table-of-the-programs".into()),
        ("QB_ENVELOPE_KEYS", key()),
        ("QB_JOB_ID_KEYS", key()),
        ("QB_ROUTES", routes),
        ("QB_DRAIN_TIMEOUT", "10m".into()),
    ]
}

/// A keyring of one random secret.
fn key() -> String {
    let secret = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(uuid::Uuid::into_bytes);
    format!("1:{}", STANDARD.encode(secret.concat()))
}

/// Runs a program to its end.
fn ended(command: Command) -> Output {
    Stage::shared().runtime.block_on(async {
        let name = format!("{command:?}");
        let output = tokio::process::Command::from(command).kill_on_drop(true).output();
        let output = timeout(PATIENCE, output).await;
        output.unwrap_or_else(|_| panic!("no end after {PATIENCE:?}: {name}")).unwrap()
    })
}

/// Its standard output and error.
fn printed(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

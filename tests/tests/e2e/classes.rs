//! The classes of `tests/python`.

use crate::stage::{Stage, folder};
use crate::times::test;
use libtest_mimic::{Failed, Trial};
use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// Ends a class that hangs. The slowest takes two minutes on a machine that has nothing else
/// to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30 * 60);

const CLASSES: [(&str, &[&str]); 37] = [
    ("test_abuse", &["Abuse", "Crowd", "SlowHandshakes"]),
    ("test_auth", &["Auth", "Certificates", "Quotas"]),
    ("test_branches", &["Branches", "Groups", "Ordered"]),
    ("test_call_routes", &["Branches", "Faults", "Ordered"]),
    ("test_call_streams", &["Requests", "Streams"]),
    ("test_callbacks", &["Callbacks", "Tenants"]),
    ("test_calls", &["Attaching", "Leaving", "Modes", "Unary"]),
    ("test_dead_letters", &["DeadLetters", "Wrapped"]),
    ("test_doors", &["Doors"]),
    ("test_encryption", &["Encryption"]),
    ("test_faults", &["Faults"]),
    ("test_gateway_function", &["GatewayFunction"]),
    ("test_handlers", &["Handlers"]),
    ("test_ids", &["Ids"]),
    ("test_infra", &["Deployed", "Removed"]),
    ("test_interop", &["Direct", "Endpoint", "Loopback", "Upstream"]),
    ("test_jobs", &["Jobs"]),
    ("test_lambda", &["Lambda"]),
    ("test_leases", &["Leases"]),
    ("test_local", &["Local", "LocalAtAnEndpoint", "LocalWithoutABranch"]),
    ("test_mapping", &["Answers", "DocumentedMapping", "EmulatedMapping"]),
    ("test_operations", &["Operations"]),
    ("test_packages", &["Images", "Kubernetes", "Zips"]),
    ("test_pages", &["AtTheGateway", "AtTheWorker"]),
    ("test_payloads", &["Payloads"]),
    ("test_protocols", &["Protocols"]),
    ("test_repeats", &["LossyWorker", "Repeats"]),
    ("test_replay", &["Replay"]),
    ("test_replay_faults", &["ReplayFaults"]),
    ("test_replies", &["Replies"]),
    ("test_rights", &["Groups"]),
    ("test_secrets", &["Logs", "Rotation", "Strangers"]),
    ("test_server", &["Alone", "Both"]),
    ("test_strangers", &["Direct", "Grpcurl", "Published", "Queued"]),
    ("test_telemetry", &["Telemetry"]),
    ("test_template", &["Denials", "Permissions", "Programs", "Queues", "Stores", "Validators"]),
    ("test_tls", &["Exchange", "Matrix"]),
];

/// One test for each class.
pub(crate) fn tests() -> Vec<Trial> {
    let named = |module: &'static str| move |class: &'static &str| (module, *class);
    let classes = CLASSES.iter().flat_map(|(module, classes)| classes.iter().map(named(module)));
    classes
        .map(|(module, class)| test(format!("{module}::{class}"), move || run(module, class)))
        .collect()
}

fn run(module: &str, class: &str) -> Result<(), Failed> {
    let stage = Stage::shared();
    let name = format!("{module}.{class}");
    let folder = folder(&name);
    let mut command = Command::from(stage.python(&folder));
    command.args(["run.py", &name]).stdin(Stdio::null()).kill_on_drop(true);
    let output = stage.runtime.block_on(async { timeout(PATIENCE, command.output()).await });
    let output = output.map_err(|_| format!("no end after {PATIENCE:?}"))??;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let printed = String::from_utf8_lossy(&output.stdout);
        return Err(format!("{said}\n{printed}\nits logs: {}", folder.display()).into());
    }
    // A process that was killed may still write: then the folder stays.
    let _ = fs::remove_dir_all(&folder);
    Ok(())
}

/// No class is forgotten, and none is named that has gone.
pub(crate) fn every_class_is_a_test() -> Result<(), Failed> {
    let folder = folder("every_class_is_a_test");
    let output = Stage::shared().python(&folder).args(["run.py", "--list"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let there: BTreeSet<String> =
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    let named = CLASSES
        .iter()
        .flat_map(|(module, classes)| classes.iter().map(move |class| format!("{module}.{class}")));
    assert_eq!(named.collect::<BTreeSet<_>>(), there);
    fs::remove_dir_all(&folder)?;
    Ok(())
}

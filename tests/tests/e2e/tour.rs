//! The tour of the README, as it stands there.

use crate::classes::PATIENCE;
use crate::local::Local;
use crate::stage::Stage;
use libtest_mimic::Failed;
use queuebridge_tests::python;
use std::net::TcpListener;
use std::process::Stdio;
use tokio::process::Command;
use tokio::time::timeout;

pub(crate) fn every_command_works() -> Result<(), Failed> {
    let readme = std::fs::read_to_string(python::root().join("README.md")).unwrap();
    let tour = readme.split("## A five-minute tour").nth(1).unwrap();
    let commands = tour.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(commands.lines().count() > 15, "the tour has gone elsewhere");
    let local = Local::start();
    // A free port for the second stack of the tour, below those that the system hands out.
    let free = (18_000..20_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let second = format!("127.0.0.1:{}", free.unwrap());
    let binaries = format!("{}/queuebridge", Stage::shared().binaries.display());
    let build = "cargo build -q -p queuebridge-gateway\n";
    assert!(commands.contains(build), "what the tour builds is not what the tests have built");
    let commands = commands
        .replace(build, "")
        .replace("127.0.0.1:50051", &local.address)
        .replace("127.0.0.1:50052", &second)
        .replace("target/debug/queuebridge", &binaries);
    // A command that fails leaves the second stack behind.
    let commands = format!("trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n{commands}");
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &commands]).current_dir(python::root());
    bash.stdin(Stdio::null()).kill_on_drop(true);
    let run = async { timeout(PATIENCE, bash.output()).await };
    let output = Stage::shared().runtime.block_on(run);
    let output = output.map_err(|_| format!("no end after {PATIENCE:?}"))??;
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{commands}\n{said}\n{error}");
    let ids: Vec<&str> = said.lines().filter(|line| line.contains("\"id\"")).collect();
    assert_eq!(ids[1], ids[2], "the same request id, the same job:\n{said}");
    for expected in ["CANCELLED", "STATE_FAILED", "target/thumbnail.png: 128 x 96"] {
        assert!(said.contains(expected), "{expected} is missing:\n{said}");
    }
    let gathers: Vec<&str> = said.lines().filter(|line| line.starts_with("branches")).collect();
    let needed = |gather: &str| gather.rsplit(", ").next().unwrap().to_owned();
    let needed: Vec<String> = gathers.iter().map(|gather| needed(gather)).collect();
    assert_eq!(needed, ["3 needed", "3 needed", "1 needed", "2 needed", "3 needed"], "{said}");
    Ok(())
}

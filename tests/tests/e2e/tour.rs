//! The tour of the README, as it stands there.

use crate::local::Local;
use crate::stage::Stage;
use libtest_mimic::Failed;
use queuebridge_tests::python;
use std::process::{Command, Stdio};

pub(crate) fn every_command_works() -> Result<(), Failed> {
    let readme = std::fs::read_to_string(python::root().join("README.md")).unwrap();
    let tour = readme.split("## A five-minute tour").nth(1).unwrap();
    let commands = tour.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(commands.lines().count() > 15, "the tour has gone elsewhere");
    let local = Local::start();
    // Another free port for the second stack of the tour.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let second = free.local_addr().unwrap().to_string();
    drop(free);
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
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &commands])
        .current_dir(python::root())
        .stdin(Stdio::null())
        .output()
        .unwrap();
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

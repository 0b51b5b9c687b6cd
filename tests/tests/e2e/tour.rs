//! The tour of the README, as it stands there.

use crate::stage::Stage;
use libtest_mimic::Failed;
use queuebridge_tests::python;
use std::io::Read;
use std::process::{Child, Command, Stdio};

/// Ends with the test.
struct Local(Child);

impl Drop for Local {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the embedded stack on a port that the system chooses.
fn start() -> (Local, String) {
    let program = Stage::shared().binaries.join("queuebridge-local");
    let child = Command::new(program)
        .args(["--listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut local = Local(child);
    let mut said = String::new();
    let output = local.0.stdout.as_mut().unwrap();
    let mut byte = [0];
    while !said.ends_with("thumbnail.png\n") {
        output.read_exact(&mut byte).unwrap();
        said.push(char::from(byte[0]));
    }
    let address = said.split("listens on ").nth(1).and_then(|rest| rest.split(". ").next());
    (local, address.unwrap().to_owned())
}

pub(crate) fn every_command_works() -> Result<(), Failed> {
    let readme = std::fs::read_to_string(python::root().join("README.md")).unwrap();
    let tour = readme.split("## A five-minute tour").nth(1).unwrap();
    let commands = tour.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(commands.lines().count() > 15, "the tour has gone elsewhere");
    let (_local, address) = start();
    // Another free port for the second stack of the tour.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let second = free.local_addr().unwrap().to_string();
    drop(free);
    let binaries = format!("{}/queuebridge", Stage::shared().binaries.display());
    let build = "cargo build -q -p queuebridge-gateway\n";
    assert!(commands.contains(build), "what the tour builds is not what the tests have built");
    let commands = commands
        .replace(build, "")
        .replace("127.0.0.1:50051", &address)
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

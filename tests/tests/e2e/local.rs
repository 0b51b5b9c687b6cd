//! `queuebridge-local`: the whole bridge in one process.

use crate::stage::Stage;
use std::io::Read;
use std::process::{Child, Command, Stdio};

/// Ends with the test.
pub(crate) struct Local {
    pub(crate) address: String,
    process: Child,
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Local {
    /// Starts it on a port that the system chooses.
    pub(crate) fn start() -> Self {
        let program = Stage::shared().binaries.join("queuebridge-local");
        let process = Command::new(program)
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut local = Self { address: String::new(), process };
        let mut said = String::new();
        let output = local.process.stdout.as_mut().unwrap();
        let mut byte = [0];
        while !said.ends_with("thumbnail.png\n") {
            output.read_exact(&mut byte).unwrap();
            said.push(char::from(byte[0]));
        }
        let address = said.split("listens on ").nth(1).and_then(|rest| rest.split(". ").next());
        address.unwrap().clone_into(&mut local.address);
        local
    }
}

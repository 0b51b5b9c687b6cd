//! The running emulator.

use crate::python::root;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Starting takes about a second, and many times that on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);
/// Somebody else may take the port between our look and the emulator's.
const TRIES: usize = 3;

/// Ends itself and all that it started as soon as its standard input is closed,
/// which the operating system does for a test program that was killed, too.
const PROGRAM: &str = "
import os, runpy, shutil, signal, sys, threading
os.setsid()
def watch():
    sys.stdin.buffer.read()
    # What it has started first, or it writes on into the folder.
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            if int(pid) != os.getpid() and os.getpgid(int(pid)) == os.getpid():
                os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass
    shutil.rmtree(os.environ['TMPDIR'], ignore_errors=True)
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
sys.argv = ['ministack']
runpy.run_module('ministack', run_name='__main__')
";

#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    port: u16,
}

impl Process {
    /// Starts the emulator on a free port of the loopback interface, and waits
    /// until it answers.
    pub(super) async fn start(python: &Path) -> Result<Self, String> {
        let mut last = String::new();
        for _ in 0..TRIES {
            match Self::try_start(python).await {
                Ok(process) => return Ok(process),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn try_start(python: &Path) -> Result<Self, String> {
        let port = free_port().map_err(|error| format!("there is no free port: {error}"))?;
        let folder = root().join(format!("target/tmp/emulator-{port}"));
        fs::create_dir_all(&folder).map_err(|error| format!("no temporary folder: {error}"))?;
        let child = Command::new(python)
            .args(["-c", PROGRAM])
            .env("BIND_HOST", Ipv4Addr::LOCALHOST.to_string())
            .env("GATEWAY_PORT", port.to_string())
            // Otherwise it listens for MQTT too, on all interfaces and always on one port.
            .env("IOT_MTLS_ENABLED", "0")
            .env("LOG_LEVEL", "ERROR")
            .env("STATE_DIR", folder.join("state"))
            .env("TMPDIR", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("{} cannot be started: {error}", python.display()))?;
        let mut process = Self { child, port };
        let deadline = Instant::now() + PATIENCE;
        while !answers(port).await {
            if let Ok(Some(status)) = process.child.try_wait() {
                return Err(format!("it ended with {status}"));
            }
            if Instant::now() > deadline {
                return Err(format!("it does not answer on port {port}"));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(process)
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It is a child of this process: without this it would remain a zombie.
        let _ = self.child.wait();
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Whether the emulator on this port says that it is well.
async fn answers(port: u16) -> bool {
    let question = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let request =
            b"GET /_ministack/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut start = [0; 12];
        stream.read_exact(&mut start).await?;
        io::Result::Ok(start)
    };
    let answer = timeout(Duration::from_secs(5), question).await;
    matches!(answer, Ok(Ok(start)) if start.starts_with(b"HTTP/1.1 200"))
}

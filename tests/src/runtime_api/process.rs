//! The bootstrap's process.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Changes once, when the process has ended.
pub(super) type Exit = watch::Receiver<Option<ExitStatus>>;
/// Kills the process when it is notified.
pub(super) type Killer = Arc<Notify>;

/// How an environment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, after SIGTERM or before.
    ByItself(ExitStatus),
    /// By SIGKILL.
    Killed,
}

pub(super) struct Process {
    id: u32,
    kill: Killer,
    exit: Exit,
    log: tempfile::NamedTempFile,
    keeper: AbortHandle,
}

impl Process {
    pub(super) fn start(
        binary: &Path,
        api: &str,
        environment: &[(&str, &str)],
    ) -> io::Result<Self> {
        let log = tempfile::NamedTempFile::new()?;
        let child = Command::new(binary)
            .env_clear()
            .envs(lambda(api))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(File::options().append(true).open(log.path())?)
            .stderr(File::options().append(true).open(log.path())?)
            .kill_on_drop(true)
            .spawn()?;
        let id = child.id().unwrap_or_default();
        let kill = Killer::default();
        let (said, exit) = watch::channel(None);
        let keeper = tokio::spawn(keep(child, kill.clone(), said)).abort_handle();
        Ok(Self { id, kill, exit, log, keeper })
    }

    pub(super) fn ended(&self) -> Exit {
        self.exit.clone()
    }

    pub(super) fn killer(&self) -> Killer {
        self.kill.clone()
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    pub(super) async fn shut_down(&self, grace: Option<Duration>) -> Ended {
        let mut exit = self.ended();
        if let Some(grace) = grace
            && exit.borrow().is_none()
        {
            // The standard library has no signal but SIGKILL.
            let kill = format!("kill -TERM {}", self.id);
            let _ = Command::new("sh").args(["-c", &kill]).status().await;
            let _ = timeout(grace, exit.wait_for(Option::is_some)).await;
        }
        if let Some(status) = *exit.borrow() {
            return Ended::ByItself(status);
        }
        self.kill.notify_one();
        let _ = exit.wait_for(Option::is_some).await;
        Ended::Killed
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // With its keeper the child is dropped, and so killed.
        self.keeper.abort();
    }
}

async fn keep(mut child: Child, kill: Killer, said: watch::Sender<Option<ExitStatus>>) {
    let status = tokio::select! {
        status = child.wait() => status,
        () = kill.notified() => {
            let _ = child.start_kill();
            child.wait().await
        }
    };
    said.send_replace(status.ok());
}

/// What Lambda sets.
fn lambda(api: &str) -> [(&'static str, &str); 9] {
    [
        ("AWS_LAMBDA_RUNTIME_API", api),
        ("AWS_LAMBDA_FUNCTION_NAME", "function"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/function"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "model"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("_HANDLER", "bootstrap"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ]
}

//! The other processes of a run: this program again, as a server.
//!
//! A server prints its address as its first line, answers each line of its
//! standard input with its counters, and ends when that is closed, which the
//! operating system does for a run that was killed, too.

use crate::Failure;
use crate::usage::Usage;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};

/// The first argument of a server.
pub(crate) const SERVE: &str = "serve";

/// Two numbers that mean what the server says; see [`crate::serve`].
pub(crate) type Counters = [u64; 2];

pub(crate) struct Child {
    process: tokio::process::Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    address: String,
}

impl Child {
    /// Starts a server and waits until it listens.
    pub(crate) async fn start(role: &[&str]) -> Result<Self, Failure> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(SERVE)
            .args(role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let questions = process.stdin.take().ok_or("no standard input")?;
        let answers = process.stdout.take().ok_or("no standard output")?;
        let mut answers = BufReader::new(answers).lines();
        let address = answers.next_line().await?.ok_or("the server did not start")?;
        Ok(Self { process, questions, answers, address })
    }

    /// Where it listens, as a URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn counters(&mut self) -> Result<Counters, Failure> {
        self.questions.write_all(b"\n").await?;
        let line = self.answers.next_line().await?.ok_or("the server has ended")?;
        let (first, second) = line.split_once(' ').ok_or("two counters were expected")?;
        Ok([first.parse()?, second.parse()?])
    }

    pub(crate) fn usage(&self) -> Result<Usage, Failure> {
        Usage::of(self.process.id().ok_or("the server has ended")?)
    }

    pub(crate) async fn stop(self) -> Result<(), Failure> {
        let Self { mut process, questions, .. } = self;
        drop(questions);
        process.wait().await?;
        Ok(())
    }
}

//! A model of the Lambda Runtime API: it runs a real bootstrap as Lambda does.
//!
//! It is our reading of AWS's documentation and of the open runtime client, and
//! not AWS's machinery. It is here for what the Runtime Interface Emulator lacks:
//! parallel polling, streamed answers and SIGTERM. What it takes over: the
//! headers of an invocation, the limits of events and answers, function errors,
//! the end of a process that misses its deadline, internal extensions. What it
//! leaves out: freezing between invocations, a second start after a death,
//! logs, throttling, and everything in front of the function.

mod answer;
mod process;
mod server;

pub use answer::{Answer, FunctionError, Invocation};
pub use process::Ended;

use bytes::Bytes;
use process::Process;
use queuebridge_store::Clock;
use server::{Api, Queued};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// The model waits so much longer than it says before it kills a process that has not
/// answered, because a busy machine may stop a process for seconds.
const LATE: Duration = Duration::from_secs(15);
/// The time between SIGTERM and SIGKILL, for the same reason. Lambda gives 500 ms.
const GRACE: Duration = Duration::from_secs(15);

/// The largest event of a synchronous invocation; Lambda's pollers are bound by
/// it, too.
pub const MAX_EVENT_BYTES: usize = 6 * 1024 * 1024;

/// The variable that lets Lambda hand out several invocations at once.
const MAX_CONCURRENCY: &str = "AWS_LAMBDA_MAX_CONCURRENCY";

/// A bootstrap in its execution environment. Dropping it kills the process.
pub struct Function {
    api: Arc<Api>,
    process: Process,
    /// Whether it takes several invocations at once: then it outlives one that is
    /// late.
    concurrent: bool,
    late: Duration,
}

impl Function {
    /// Starts a binary with these variables, besides those that Lambda sets.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(binary: &Path, environment: &[(&str, &str)]) -> io::Result<Self> {
        let (api, address) = Api::serve().await?;
        let process = Process::start(binary, &address, environment)?;
        let concurrent = environment.iter().any(|(name, _)| *name == MAX_CONCURRENCY);
        Ok(Self { api, process, concurrent, late: LATE })
    }

    /// Kills the process at the very end of an invocation's time, as Lambda does.
    #[must_use]
    pub fn punctual(self) -> Self {
        Self { late: Duration::ZERO, ..self }
    }

    /// Invokes it and waits for the answer, at most for this time.
    pub async fn invoke(&self, event: impl Into<Bytes>, time: Duration) -> Answer {
        self.begin(event, time).end().await
    }

    /// Invokes it. The answer is read by the caller, while it arrives.
    pub fn begin(&self, event: impl Into<Bytes>, time: Duration) -> Invocation {
        let (answer, answered) = oneshot::channel();
        let (chunk, chunks) = mpsc::unbounded_channel();
        let event = event.into();
        if event.len() > MAX_EVENT_BYTES {
            let error = FunctionError::new("RequestTooLarge", "the event is larger than 6 MB");
            let _ = answer.send(Answer::Error(error));
        } else {
            let deadline = Clock::system().now().plus(time);
            self.api.queue(Queued { event, deadline, answer, chunk });
        }
        let kill = (!self.concurrent).then(|| self.process.killer());
        Invocation::new(
            answered,
            chunks,
            Instant::now() + time + self.late,
            self.process.ended(),
            kill,
        )
    }

    /// Waits until the bootstrap has asked for its first invocation, which ends
    /// its initialization.
    ///
    /// # Errors
    /// With what it said, when it ends before.
    pub async fn ready(&self) -> Result<(), String> {
        let mut ended = self.process.ended();
        tokio::select! {
            () = self.api.first_poll() => Ok(()),
            _ = ended.wait_for(Option::is_some) => Err(self.log()),
        }
    }

    /// The error by which the bootstrap gave up its initialization.
    #[must_use]
    pub fn init_error(&self) -> Option<FunctionError> {
        self.api.init_error()
    }

    /// The most invocations that ran side by side so far.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.api.most_running.load(Ordering::Relaxed)
    }

    /// Ends the environment as Lambda does: a process with an internal extension gets SIGTERM
    /// and 15 s, any other is killed at once.
    pub async fn shut_down(&self) -> Ended {
        self.shut_down_after(GRACE).await
    }

    /// As [`Function::shut_down`], with this time.
    pub async fn shut_down_after(&self, grace: Duration) -> Ended {
        self.process.shut_down(self.api.has_extension().then_some(grace)).await
    }

    /// What the process has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The id of the process.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }
}

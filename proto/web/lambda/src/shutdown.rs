//! The end of an execution environment.
//!
//! Lambda sends SIGTERM only to processes that have registered an extension, and
//! kills them half a second later. Usually nothing runs then, as environments end
//! between invocations; functions that run invocations side by side may be in the
//! middle of some.

use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// What may be used of the half second.
const PATIENCE: Duration = Duration::from_millis(400);
/// So long after the last invocation its answer may take to leave the process.
const LAST_ANSWERS: Duration = Duration::from_millis(50);
/// How long the registration of the extension may take at the start.
const REGISTRATION: Duration = Duration::from_secs(2);

/// Tells invocations to stop, and waits for them.
#[derive(Clone)]
pub struct Shutdown {
    stopping: CancellationToken,
    invocations: TaskTracker,
}

impl Shutdown {
    /// Listens for SIGTERM from now on. Must be called before the first
    /// invocation is asked for. Where extensions do not exist, as in emulators,
    /// there is no SIGTERM either.
    pub async fn listen() -> Self {
        let (stopping, invocations) = (CancellationToken::new(), TaskTracker::new());
        let (stop, tracker) = (stopping.clone(), invocations.clone());
        let stopped = move || async move {
            stop.cancel();
            tracker.close();
            let _ = timeout(PATIENCE, tracker.wait()).await;
            sleep(LAST_ANSWERS).await;
        };
        // It panics where it cannot register, hence the task of its own.
        let registration = tokio::spawn(lambda_runtime::spawn_graceful_shutdown_handler(stopped));
        if !matches!(timeout(REGISTRATION, registration).await, Ok(Ok(()))) {
            tracing::warn!("no extension could be registered: the end will come unannounced");
        }
        Self { stopping, invocations }
    }

    /// Fires when the process is to end.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// To be held while an invocation is under way.
    pub(crate) fn under_way(&self) -> TaskTrackerToken {
        self.invocations.token()
    }
}

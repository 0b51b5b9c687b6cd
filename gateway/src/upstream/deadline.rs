//! The end of the caller's time, kept by the gateway as well.

use http::HeaderMap;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::time::grpc_timeout;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status};

/// So much before the caller's time ends we say so: the servers around us measure
/// it, too, and would answer `CANCELLED`.
const EARLIER: Duration = Duration::from_millis(5);

/// When a call ends at the latest; never, without a `grpc-timeout`.
pub(super) struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    /// The deadline that the caller asks for, counted from now.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self(asked(headers).map(|time| {
            let time = time - (time / 10).min(EARLIER);
            Box::pin(sleep_until(Instant::now() + time))
        }))
    }

    /// Whether it has come; if not, the task is woken when it does.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> bool {
        self.0.as_mut().is_some_and(|sleep| sleep.as_mut().poll(context).is_ready())
    }

    /// Runs `future` until the deadline comes.
    ///
    /// # Errors
    /// `DEADLINE_EXCEEDED` when it has come.
    pub(super) async fn bound<F: Future>(&mut self, future: F) -> Result<F::Output, Status> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if self.poll(context) => Poll::Ready(Err(too_late())),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

fn asked(headers: &HeaderMap) -> Option<Duration> {
    grpc_timeout(headers.get("grpc-timeout")?.to_str().ok()?)
}

/// The status of a call whose time is over.
pub(super) fn too_late() -> Status {
    let message = "the upstream did not answer within the caller's deadline";
    error::status(Code::DeadlineExceeded, reason::UPSTREAM_TIMED_OUT, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    fn deadline(timeout: &str) -> Deadline {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", timeout.parse().unwrap());
        Deadline::of(&headers)
    }

    #[tokio::test(start_paused = true)]
    async fn it_comes_a_little_before_the_callers() {
        let start = Instant::now();
        let status = deadline("1S").bound(pending::<()>()).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(start.elapsed(), Duration::from_millis(995));
        let start = Instant::now();
        assert!(deadline("10m").bound(pending::<()>()).await.is_err());
        assert_eq!(start.elapsed(), Duration::from_millis(9));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_ready_is_not_late_and_nonsense_is_no_deadline() {
        assert_eq!(deadline("0n").bound(ready(7)).await.unwrap(), 7);
        let mut none = deadline("soon");
        assert!(none.0.is_none());
        assert_eq!(none.bound(ready(7)).await.unwrap(), 7);
    }
}

//! What a handler can know about its job, and say while it runs.

use crate::progress::Reports;
use bytes::Bytes;
use queuebridge_proto::v1::{Progress, TraceContext};
use queuebridge_proto::{JobId, UnixMillis};
use queuebridge_store::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The longest progress message in characters; longer ones are cut.
const MAX_MESSAGE: usize = 1024;
/// The largest partial result.
const MAX_PARTIAL: usize = 16 * 1024;

/// Found in the extensions of the request that a handler gets:
/// `request.extensions().get::<JobContext>()`. A handler that is called as a
/// plain gRPC server finds none.
#[derive(Clone, Debug)]
pub struct JobContext {
    /// The job's id. It is the same in every attempt.
    pub id: JobId,
    /// Which attempt this is, from 1. With the guarantee `at_least_once`, how
    /// often the message was received.
    pub attempt: u32,
    /// When the handler will be ended: the work expiry, or before it the end of
    /// the host's time.
    pub deadline: UnixMillis,
    /// Fires when the job's cancellation was asked for. A handler may end early
    /// with whatever it likes; if it does not, it is dropped. Tasks of a handler that is
    /// dropped without an answer for another reason are told by it as well: that its
    /// time is over, its claim was lost, or the worker stops.
    pub cancelled: CancellationToken,
    /// The id of the job that this one repeats, if it is a replay.
    pub retry_of: Option<Arc<str>>,
    /// The branch that this is, of a method that goes to several.
    pub branch: Option<Arc<str>>,
    pub(crate) clock: Clock,
    pub(crate) reports: Arc<Reports>,
    pub(crate) trace: Option<TraceContext>,
}

impl JobContext {
    /// How much time is left until the handler is ended.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.clock.now().until(self.deadline)
    }

    /// Reports how far the job has come: `fraction` is from 0 to 1, `message` a
    /// short text for people, of which 1,024 characters are kept. Callers see the
    /// latest report in `Job.progress`.
    ///
    /// It is cheap and never waits: reports are written at most every two
    /// seconds, and only the latest of them. With the guarantee `at_least_once`,
    /// which keeps no state before the result, they are dropped.
    pub fn report(&self, fraction: f64, message: impl AsRef<str>) {
        self.report_partial(fraction, message, Bytes::new());
    }

    /// As [`JobContext::report`], with what there is of the answer so far, in a form
    /// that callers of this method understand. It stands in `Job.progress` until the
    /// next report. One of more than 16 KiB is left out, and logged: reports are
    /// written to the result store every few seconds.
    pub fn report_partial(
        &self,
        fraction: f64,
        message: impl AsRef<str>,
        partial_result: impl Into<Bytes>,
    ) {
        let mut partial_result = partial_result.into();
        if partial_result.len() > MAX_PARTIAL {
            let size = partial_result.len();
            tracing::warn!(job = %self.id, size, "a partial result is too large to be shown");
            partial_result = Bytes::new();
        }
        let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
        self.reports.put(Progress {
            fraction,
            message: message.as_ref().chars().take(MAX_MESSAGE).collect(),
            update_time: Some(self.clock.now().to_proto()),
            partial_result,
            ..Progress::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use queuebridge_proto::Keyring;
    use queuebridge_proto::job_id::Claims;

    #[tokio::test(start_paused = true)]
    async fn reports_are_kept_within_bounds_and_the_latest_wins() {
        let claims = Claims {
            uuid: uuid::Uuid::now_v7(),
            tenant: "t",
            method: "/a.B/C",
            expires_at: UnixMillis(9_000),
            retention: Duration::from_secs(1),
            at_least_once: false,
            reply_shard: None,
        };
        let reports = Arc::new(Reports::default());
        let context = JobContext {
            id: JobId::mint(&claims, &Keyring::single(&[1; 32])),
            attempt: 1,
            deadline: UnixMillis(9_000),
            cancelled: CancellationToken::new(),
            retry_of: None,
            branch: None,
            clock: Clock::simulated(UnixMillis(1_000)),
            reports: reports.clone(),
            trace: None,
        };
        assert_eq!(context.remaining(), Duration::from_secs(8));
        for (given, kept) in [(f64::NAN, 0.0), (-1.0, 0.0), (0.25, 0.25), (7.0, 1.0)] {
            context.report(given, "é".repeat(2000));
            let report = reports.take().unwrap();
            assert_eq!((report.fraction, report.message.chars().count()), (kept, MAX_MESSAGE));
        }
        for (given, kept) in [(MAX_PARTIAL, MAX_PARTIAL), (MAX_PARTIAL + 1, 0)] {
            context.report_partial(0.5, "", vec![7; given]);
            assert_eq!(reports.take().unwrap().partial_result.len(), kept);
        }
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(context.remaining(), Duration::ZERO);
    }
}

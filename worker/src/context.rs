//! What a handler can know about its job.

use queuebridge_proto::{JobId, UnixMillis};
use tokio_util::sync::CancellationToken;

/// Found in the extensions of the request that a handler gets:
/// `request.extensions().get::<JobContext>()`.
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
    /// with whatever it likes; if it does not, it is dropped.
    pub cancelled: CancellationToken,
}

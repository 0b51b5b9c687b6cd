//! How long a call may wait.

use queuebridge_proto::time::grpc_timeout;
use std::time::Duration;
use tonic::metadata::MetadataMap;

/// The longest time for which one call waits.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(300);
/// What is kept back of the caller's deadline, so that the answer arrives in time: a twentieth
/// of it, within these bounds. The job is looked up after the wait, and machines are busy.
const LEAST_MARGIN: Duration = Duration::from_millis(100);
const MOST_MARGIN: Duration = Duration::from_millis(500);

/// A wait that ends before the caller's own deadline.
pub(super) fn cap(wait: Duration, deadline: Option<Duration>) -> Duration {
    let wait = wait.min(MAX_WAIT);
    deadline.map_or(wait, |left| {
        let margin = (left / 20).clamp(LEAST_MARGIN, MOST_MARGIN).min(left / 4);
        wait.min(left.saturating_sub(margin))
    })
}

/// The caller's `grpc-timeout`.
pub(crate) fn deadline_of(metadata: &MetadataMap) -> Option<Duration> {
    grpc_timeout(metadata.get("grpc-timeout")?.to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_before_the_callers_deadline() {
        let secs = Duration::from_secs;
        assert_eq!(cap(secs(10), None), secs(10));
        assert_eq!(cap(secs(10_000), None), MAX_WAIT);
        assert_eq!(cap(secs(10), Some(secs(5))), Duration::from_millis(4_750));
        assert_eq!(cap(secs(60), Some(secs(60))), Duration::from_millis(59_500));
        assert_eq!(cap(secs(10), Some(secs(1))), Duration::from_millis(900));
        assert_eq!(cap(secs(10), Some(Duration::from_millis(40))), Duration::from_millis(30));
        assert_eq!(cap(secs(1), Some(secs(5))), secs(1));
    }
}

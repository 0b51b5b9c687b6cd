//! Waiting as long as a request says.

use crate::refusal;
use std::time::Duration;
use tokio::time::Instant;
use tonic::Status;

/// The longest wait that can be asked for: the longest that a Lambda may run.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// The wait that a field asks for; unset is none.
///
/// # Errors
///
/// `INVALID_ARGUMENT` when it is negative, malformed or over 15 minutes.
pub(super) fn checked(
    field: &str,
    duration: Option<prost_types::Duration>,
) -> Result<Duration, Status> {
    checked_up_to(field, duration, LONGEST)
}

/// The time that a field asks for, which is not waited here; unset is none.
///
/// # Errors
///
/// `INVALID_ARGUMENT` when it is negative, malformed or over `longest`.
pub(super) fn checked_up_to(
    field: &str,
    duration: Option<prost_types::Duration>,
    longest: Duration,
) -> Result<Duration, Status> {
    let duration = Duration::try_from(duration.unwrap_or_default()).ok();
    let allowed = duration.filter(|duration| *duration <= longest);
    let rule = || format!("expected 0 to {} minutes", longest.as_secs() / 60);
    allowed.ok_or_else(|| refusal::invalid_field(field, rule()))
}

/// Waits as long as a field asks for, and says how long that really was.
///
/// # Errors
///
/// Those of [`checked`], before any waiting.
pub(super) async fn wait(
    field: &str,
    duration: Option<prost_types::Duration>,
) -> Result<Duration, Status> {
    let duration = checked(field, duration)?;
    let start = Instant::now();
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
    Ok(start.elapsed())
}

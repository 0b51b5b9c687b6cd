//! Work in steps, with reports.

use crate::refusal;
use crate::v1;
use prost::Message;
use queuebridge_worker::JobContext;
use std::time::Duration;
use tokio::time::sleep;
use tonic::Status;

const MAX_STEPS: u32 = 100_000;

/// Works step by step and reports after each, until the job is cancelled.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for too many steps.
pub(super) async fn work(
    context: Option<JobContext>,
    steps: u32,
    step: Duration,
) -> Result<v1::ReportResponse, Status> {
    if steps > MAX_STEPS {
        let rule = format!("expected at most {MAX_STEPS}");
        return Err(refusal::invalid_field("steps", rule));
    }
    let mut done = v1::ReportResponse::default();
    for number in 1..=steps {
        if context.as_ref().is_some_and(|context| context.cancelled.is_cancelled()) {
            done.cancelled = true;
            break;
        }
        sleep(step).await;
        if let Some(context) = &context {
            done.reports += 1;
            let fraction = f64::from(number) / f64::from(steps);
            context.report_partial(fraction, format!("step {number}"), done.encode_to_vec());
        }
    }
    Ok(done)
}

//! The Lambda host: what kind of event it is decides which door takes it.

mod sqs;

use crate::runner::Runner;
use aws_lambda_events::event::sqs::SqsEvent;
use aws_sdk_sqs::Client;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use queuebridge_proto::UnixMillis;
use std::sync::Arc;

/// Serves invocations until the runtime ends the process. Invocations may run
/// side by side where the function is configured so.
///
/// # Errors
/// When the Runtime API cannot be reached.
pub async fn run(runner: Arc<Runner>, client: Client) -> Result<(), Error> {
    let queue = Arc::new(sqs::Queue::new(runner, client));
    let handler = service_fn(move |event: LambdaEvent<SqsEvent>| {
        let queue = queue.clone();
        async move {
            let deadline = UnixMillis(event.context.deadline);
            queue.invoke(event.payload.records, deadline).await
        }
    });
    lambda_runtime::run_concurrent(handler).await
}

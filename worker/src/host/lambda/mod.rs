//! The Lambda host: what kind of event it is decides which door takes it.

mod shutdown;
mod sqs;

use crate::runner::Runner;
use aws_lambda_events::event::sqs::SqsEvent;
use aws_sdk_sqs::Client;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use queuebridge_proto::UnixMillis;
use std::sync::Arc;

/// Serves invocations until the runtime ends the process. Invocations may run
/// side by side where the function is configured so. When Lambda says with SIGTERM
/// that it is about to end the process, what runs gives its claims back.
///
/// # Errors
/// When the Runtime API cannot be reached.
pub async fn run(runner: Arc<Runner>, client: Client) -> Result<(), Error> {
    let shutdown = shutdown::Shutdown::listen().await;
    let queue = Arc::new(sqs::Queue::new(runner, client, shutdown.stopping()));
    let handler = service_fn(move |event: LambdaEvent<SqsEvent>| {
        let (queue, under_way) = (queue.clone(), shutdown.under_way());
        async move {
            let deadline = UnixMillis(event.context.deadline);
            let answer = queue.invoke(event.payload.records, deadline).await;
            drop(under_way);
            answer
        }
    });
    lambda_runtime::run_concurrent(handler).await
}

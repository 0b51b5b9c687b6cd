//! The Lambda host: what kind of event it is decides which door takes it.

mod event;
mod http;
mod shutdown;
mod sqs;

pub use http::InvokeMode;

use crate::runner::Runner;
use crate::telemetry::Telemetry;
use aws_lambda_events::event::sqs::SqsBatchResponse;
use aws_sdk_sqs::Client;
use event::{Event, Kind};
use http::{Answered, Chunks, Door};
use lambda_runtime::{Error, FunctionResponse, LambdaEvent, service_fn};
use queuebridge_proto::UnixMillis;
use queuebridge_store::Clock;
use queuebridge_web::Web;
use serde::Serialize;
use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::{Instrument, error_span};

/// What is kept of the invocation's time for settling and answering: a tenth, up
/// to this.
const MARGIN: Duration = Duration::from_millis(500);

/// How long an invocation waits for a collector of traces.
const FLUSH: Duration = Duration::from_secs(1);

/// Serves invocations until the runtime ends the process: batches of SQS through
/// `runner`, if there is one, HTTP requests through `web`. Invocations may run side by side where
/// the function is configured so. When Lambda says with SIGTERM that it is about to
/// end the process, what runs gives its claims back.
///
/// # Errors
/// When the Runtime API cannot be reached.
pub async fn run(
    runner: Option<Arc<Runner>>,
    client: Client,
    web: Web,
    mode: InvokeMode,
    telemetry: Telemetry,
) -> Result<(), Error> {
    let shutdown = shutdown::Shutdown::listen().await;
    let host = Arc::new(Host {
        clock: Clock::system(),
        queue: runner.map(|runner| sqs::Queue::new(runner, client, shutdown.stopping())),
        door: Door::new(web, mode),
        telemetry,
    });
    let handler = service_fn(move |event: LambdaEvent<Event>| {
        let (host, under_way) = (host.clone(), shutdown.under_way());
        async move {
            let span = error_span!("invocation", request_id = event.context.request_id);
            let answer =
                on_a_worker(async move { host.invoke(event).instrument(span).await }).await;
            drop(under_way);
            answer
        }
    });
    // In a box, as all hosts are: types nest deeply here.
    Box::pin(lambda_runtime::run_concurrent(handler)).await
}

/// Decodes an event as far as an invocation does before any handler begins, and says
/// whether it has a door here.
#[cfg(feature = "testing")]
#[must_use]
pub fn decodes(document: &[u8]) -> bool {
    let Ok(event) = serde_json::from_slice::<Event>(document) else { return false };
    match event.kind() {
        Ok(Kind::Sqs(mut records)) => {
            let deliveries = sqs::deliveries(&mut records);
            deliveries.iter().for_each(|delivery| drop(super::pointers::parse(&delivery.body)));
            true
        }
        Ok(Kind::Alb(event)) => http::from_alb(event).is_ok(),
        Ok(Kind::V2 { event, method, .. }) => http::from_v2(event, &method).is_ok(),
        Err(_) => false,
    }
}

/// Runs an invocation on one of the runtime's own threads, where the tasks of a
/// batch start without waking another one. With a single such thread it stays
/// where it is: a handler that blocks must not hold up the batch's end.
async fn on_a_worker<T: Send + 'static>(
    invocation: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    if Handle::current().metrics().num_workers() < 2 {
        return invocation.await;
    }
    match tokio::spawn(invocation).await {
        Ok(answer) => answer,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err("the runtime is shutting down".into()),
        },
    }
}

struct Host {
    clock: Clock,
    queue: Option<sqs::Queue>,
    door: Door,
    telemetry: Telemetry,
}

/// What an event source takes.
#[derive(Serialize)]
#[serde(untagged)]
enum Document {
    Sqs(SqsBatchResponse),
    Http(http::Answer),
}

impl Host {
    async fn invoke(
        &self,
        event: LambdaEvent<Event>,
    ) -> Result<FunctionResponse<Document, Chunks>, Error> {
        let left = self.clock.now().until(UnixMillis(event.context.deadline));
        let ends_at = Instant::now() + left.saturating_sub((left / 10).min(MARGIN));
        let answer = self.answer(event, ends_at).await;
        // After the answer the process may be frozen.
        let left = ends_at.saturating_duration_since(Instant::now());
        self.telemetry.flush(left.min(FLUSH)).await;
        answer
    }

    async fn answer(
        &self,
        event: LambdaEvent<Event>,
        ends_at: Instant,
    ) -> Result<FunctionResponse<Document, Chunks>, Error> {
        let answered = match event.payload.kind()? {
            Kind::Sqs(records) => {
                let missing = "this function has no bridge: QB_ENVELOPE_KEYS and QB_STORE_TABLE";
                let queue = self.queue.as_ref().ok_or(missing)?;
                let answer = queue.invoke(records, ends_at).await?;
                return Ok(FunctionResponse::BufferedResponse(Document::Sqs(answer)));
            }
            Kind::Alb(event) => self.door.alb(event, ends_at).await?,
            Kind::V2 { event, method, function_url } => {
                self.door.v2(event, &method, function_url, ends_at).await?
            }
        };
        Ok(match answered {
            Answered::Whole(answer) => FunctionResponse::BufferedResponse(Document::Http(answer)),
            Answered::Streamed(answer) => FunctionResponse::StreamingResponse(answer),
        })
    }
}

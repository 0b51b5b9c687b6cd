//! The Lambda host: what kind of event it is decides which door takes it.

mod record;
mod sqs;

pub use queuebridge_web_lambda::{BasePath, DoorSettings, InvokeMode};

use crate::runner::Runner;
use crate::telemetry::Telemetry;
use aws_lambda_events::event::sqs::SqsBatchResponse;
use aws_sdk_sqs::Client;
use lambda_runtime::{Error, FunctionResponse};
use queuebridge_store::Clock;
use queuebridge_web::Web;
use queuebridge_web_lambda::{Answer, Chunks, Door, Ends, Event, Kind, Shutdown, foreign_records};
use record::Record;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

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
    door: DoorSettings,
    telemetry: Telemetry,
) -> Result<(), Error> {
    let shutdown = Shutdown::listen().await;
    let queue = runner.map(|runner| sqs::Queue::new(runner, client, shutdown.stopping()));
    let host = Arc::new(Host { queue, door: Door::new(web, door), telemetry });
    let clock = Clock::system();
    let invoke = move |event, ends| {
        let host = host.clone();
        async move { host.invoke(event, ends).await }
    };
    queuebridge_web_lambda::run(shutdown, move || clock.now(), invoke).await
}

/// Decodes an event as far as an invocation does before any handler begins, and says
/// whether it has a door here.
#[cfg(feature = "testing")]
#[must_use]
pub fn decodes(document: &[u8]) -> bool {
    let event = serde_json::from_slice::<Event<Record>>(document);
    match event.map_err(Error::from).and_then(Event::kind) {
        Ok(Kind::Records(mut records)) => {
            let deliveries = sqs::deliveries(&mut records);
            deliveries.iter().for_each(|delivery| drop(super::pointers::parse(&delivery.body)));
            true
        }
        Ok(Kind::Request(request)) => request.into_http().is_ok(),
        Err(_) => false,
    }
}

struct Host {
    queue: Option<sqs::Queue>,
    door: Door<Web>,
    telemetry: Telemetry,
}

/// What an event source takes.
#[derive(Serialize)]
#[serde(untagged)]
enum Document {
    Sqs(SqsBatchResponse),
    Http(Answer),
}

impl Host {
    async fn invoke(
        &self,
        event: Event<Record>,
        ends: Ends,
    ) -> Result<FunctionResponse<Document, Chunks>, Error> {
        let answer = self.answer(event, ends).await;
        // After the answer the process may be frozen.
        let left = ends.calls.saturating_duration_since(Instant::now());
        self.telemetry.flush(left.min(FLUSH)).await;
        answer
    }

    async fn answer(
        &self,
        event: Event<Record>,
        ends: Ends,
    ) -> Result<FunctionResponse<Document, Chunks>, Error> {
        match event.kind()? {
            Kind::Records(records) => {
                if let Some(other) = records.iter().find(|record| !record.is_of_sqs()) {
                    return Err(foreign_records(other.event_source.as_deref()).into());
                }
                let missing = "this function has no bridge: QB_ENVELOPE_KEYS and QB_STORE_TABLE";
                let queue = self.queue.as_ref().ok_or(missing)?;
                let answer = queue.invoke(records, ends.calls).await?;
                Ok(FunctionResponse::BufferedResponse(Document::Sqs(answer)))
            }
            Kind::Request(request) => {
                Ok(self.door.answer(*request, ends).await?.into_response(Document::Http))
            }
        }
    }
}

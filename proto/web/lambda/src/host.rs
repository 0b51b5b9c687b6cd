//! Invocations, one after the other or side by side.

use crate::door::Chunks;
use crate::event::Event;
use crate::shutdown::Shutdown;
use futures_util::StreamExt;
use lambda_runtime::{Error, FunctionResponse, LambdaEvent, StreamResponse, service_fn};
use queuebridge_proto::UnixMillis;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::panic::resume_unwind;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::{Instrument, error_span};

/// What is kept of the invocation's time for settling and answering: a tenth, up
/// to this.
const MARGIN: Duration = Duration::from_millis(500);

/// When the parts of an invocation end.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// When its calls do.
    pub calls: Instant,
    /// When everything else does: the rest is for sending the answer.
    pub rest: Instant,
}

impl Ends {
    fn new(left: Duration) -> Self {
        let (now, margin) = (Instant::now(), (left / 10).min(MARGIN));
        Self { calls: now + (left - margin), rest: now + (left - margin / 4) }
    }
}

/// Serves invocations until the runtime ends the process; they may run side by side
/// where the function is configured so. `now` is the clock that the runtime's deadlines
/// are measured by.
///
/// # Errors
/// When the Runtime API cannot be reached.
pub async fn run<R, A, F>(
    shutdown: Shutdown,
    now: impl Fn() -> UnixMillis + Clone + Send + 'static,
    invoke: impl Fn(Event<R>, Ends) -> F + Clone + Send + 'static,
) -> Result<(), Error>
where
    R: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
    F: Future<Output = Result<FunctionResponse<A, Chunks>, Error>> + Send + 'static,
{
    let handler = service_fn(move |event: LambdaEvent<Event<R>>| {
        let under_way = shutdown.under_way();
        let ends = Ends::new(now().until(UnixMillis(event.context.deadline)));
        let span = error_span!("invocation", request_id = event.context.request_id);
        let invocation = invoke(event.payload, ends).instrument(span);
        async move {
            Ok::<_, Error>(match on_a_worker(invocation).await? {
                // Under way as long as there are chunks.
                FunctionResponse::StreamingResponse(StreamResponse {
                    metadata_prelude,
                    stream,
                }) => {
                    let held = move |chunk| {
                        let _ = &under_way;
                        chunk
                    };
                    let stream: Chunks = stream.map(held).boxed();
                    FunctionResponse::StreamingResponse(StreamResponse { metadata_prelude, stream })
                }
                whole => whole,
            })
        }
    });
    // In a box, as all hosts are: types nest deeply here.
    Box::pin(lambda_runtime::run_concurrent(handler)).await
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

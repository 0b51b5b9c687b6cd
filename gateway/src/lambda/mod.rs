//! The gateway as a Lambda function, for callers that speak gRPC-Web, Connect or JSON.
//!
//! The process is frozen between invocations. So an invocation ends when nothing is under
//! way any more: no message that is being sent, no cancellation, no poll. There is no
//! reply shard, as nobody would read it: those who wait poll the store.

mod time;

use crate::auth::Authenticator;
use crate::config::{self, Config};
use crate::deployment;
use crate::descriptors::DescriptorRegistry;
use crate::listener::{Peer, UnknownCalls};
use crate::replies::Replies;
use crate::server::{self, Gateway, ServeError};
use crate::stack::Stack;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use lambda_runtime::{Error, FunctionResponse};
use queuebridge_proto::error::{self, reason};
use queuebridge_store::Clock;
use queuebridge_web::{Limits, Protocol};
use queuebridge_web_lambda::{
    Answer, AnyRecord, Calls, Chunks, Door, DoorSettings, Ends, Event, Kind, Shutdown, SourceIp,
    foreign_records, run as serve,
};
use std::net::SocketAddr;
use std::sync::Arc;
use time::Within;
use tonic::body::Body;
use tonic::{Code, Status};

/// Serves invocations over SQS, SNS, DynamoDB and S3 until Lambda ends the process.
///
/// # Errors
/// See [`ServeError`].
pub async fn run(config: Config) -> Result<(), ServeError> {
    let descriptors = Arc::new(DescriptorRegistry::default());
    descriptors.replace_files(server::descriptor_files(&config)?);
    let auth = Authenticator::new(&config.auth, &config.tenant)?;
    if auth.is_open() {
        tracing::warn!(
            "auth = \"none\": everybody whom the service in front of the function lets through \
             may submit, read, cancel and delete jobs"
        );
    }
    let sdk = crate::aws::sdk_config().await;
    let stores = deployment::stores(&config, &sdk);
    // It holds none; jobs of other gateways are announced on theirs.
    let replies = Arc::new(Replies::new(config.reply_queues.clone()));
    let gateway = deployment::gateway(&config, &sdk, stores, replies, descriptors, auth)?;
    let stack = gateway.stack().await?;
    let (invoke_mode, base_path) = (config.invoke_mode, config.base_path.clone());
    let shutdown = Shutdown::listen().await;
    let stopping = shutdown.stopping();
    let requests = Requests(Arc::new(Inner { gateway, stack, frozen: !config::is_concurrent() }));
    let stopped = requests.clone();
    tokio::spawn(async move {
        stopping.cancelled().await;
        // Whoever waits is answered with what there is: half a second is left.
        stopped.0.gateway.stop();
    });
    let door = Arc::new(Door::new(requests, DoorSettings { invoke_mode, base_path }));
    let invoke = move |event, ends| {
        let door = door.clone();
        async move { answer(&door, event, ends).await }
    };
    let clock = Clock::system();
    serve(shutdown, move || clock.now(), invoke).await.map_err(ServeError::Lambda)
}

async fn answer(
    door: &Door<Requests>,
    event: Event<AnyRecord>,
    ends: Ends,
) -> Result<FunctionResponse<Answer, Chunks>, Error> {
    match event.kind()? {
        Kind::Request(request) => {
            let ends = if request.is_of_http_api() { time::in_time_for_an_api(ends) } else { ends };
            Ok(door.answer(*request, ends).await?.into_response(|it| it))
        }
        Kind::Records(records) => {
            let source = records.first().and_then(|record| record.event_source.as_deref());
            Err(foreign_records(source).into())
        }
    }
}

/// What answers the requests of events. Cheap to clone.
#[derive(Clone)]
struct Requests(Arc<Inner>);

struct Inner {
    gateway: Gateway,
    stack: Stack,
    /// Whether the process is frozen at the end of an invocation.
    frozen: bool,
}

impl Calls for Requests {
    async fn call(&self, request: Request<Full<Bytes>>, limits: Limits) -> Response<Body> {
        if Protocol::of(&request) == Some(Protocol::Grpc) {
            return no_trailers().into_http();
        }
        let mut request = request.map(Body::new);
        if let Some(SourceIp(address)) = request.extensions_mut().remove() {
            // As on the port; which one it was, nobody has told.
            let address = SocketAddr::new(address, 0);
            request.extensions_mut().insert(Peer {
                address,
                certificate: None,
                unknown: UnknownCalls::default(),
            });
        }
        let within = |services| Within::new(services, limits.ends_at);
        self.0.stack.answer(request, limits, within).await
    }

    async fn refuse(&self, head: Request<()>, status: Status) -> Response<Body> {
        self.0.stack.refuse(head, status).await
    }

    async fn settled(&self) {
        // Side by side nobody is to wait for what others wait for.
        if self.0.frozen {
            self.0.gateway.settled().await;
        }
    }
}

/// What a caller of native gRPC hears, in the one form that has no trailers.
fn no_trailers() -> Status {
    let message = "native gRPC ends in trailers, which do not pass a Lambda function: use \
                   gRPC-Web or Connect, or a gateway that listens on a port";
    error::status(Code::Unimplemented, reason::NO_TRAILERS_HERE, message)
}

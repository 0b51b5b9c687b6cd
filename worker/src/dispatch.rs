//! Calling a tonic service in this process, without a socket.

use bytes::Bytes;
use queuebridge_proto::metadata::to_metadata_map;
use queuebridge_proto::raw::RawCodec;
use queuebridge_proto::v1::{Metadatum, Outcome};
use queuebridge_proto::{MethodName, outcome};
use std::time::Duration;
use tokio_stream::once;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Code, Request, Status};

use crate::context::JobContext;
use crate::next::{self, Next};

/// Calls the services of a worker.
#[derive(Clone)]
pub(crate) struct Dispatcher(Routes);

/// What came of a call: the outcome, and what retries are decided on.
pub(crate) struct Answer {
    pub(crate) code: Code,
    pub(crate) next: Option<Next>,
    pub(crate) outcome: Outcome,
}

impl Dispatcher {
    pub(crate) fn new(routes: Routes) -> Self {
        Self(routes.prepare())
    }

    /// Calls `method`. `remaining` stands in the handler's `grpc-timeout`; it is
    /// the caller who enforces it, as nothing on this way does.
    pub(crate) async fn call(
        &self,
        method: &MethodName,
        message: Bytes,
        metadata: &[Metadatum],
        remaining: Duration,
        context: JobContext,
    ) -> Answer {
        let mut request = Request::new(once(message));
        *request.metadata_mut() = to_metadata_map(metadata);
        request.set_timeout(remaining);
        request.extensions_mut().insert(context);
        // The streaming call keeps initial and trailing metadata apart; the unary
        // one would merge them.
        let mut initial = MetadataMap::new();
        match self.unary(method, request, &mut initial).await {
            Ok((message, trailing)) => {
                let outcome = outcome::success(message, &initial, &trailing);
                Answer { code: Code::Ok, next: None, outcome }
            }
            Err(mut status) => {
                let next = next::take(status.metadata_mut());
                let outcome = outcome::failure(&status, &initial);
                Answer { code: status.code(), next, outcome }
            }
        }
    }

    async fn unary(
        &self,
        method: &MethodName,
        request: Request<impl tokio_stream::Stream<Item = Bytes> + Send + 'static>,
        initial: &mut MetadataMap,
    ) -> Result<(Bytes, MetadataMap), Status> {
        let path = http::uri::PathAndQuery::try_from(method.as_str())
            .map_err(|_| Status::unimplemented("not a method"))?;
        // The answer's size is judged where it is stored, with a precise reason.
        let mut grpc = Grpc::new(self.0.clone()).max_decoding_message_size(usize::MAX);
        let response = grpc.streaming(request, path, RawCodec).await?;
        let (metadata, mut stream, _) = response.into_parts();
        *initial = metadata;
        let message = stream.message().await?;
        let second = if message.is_some() { stream.message().await? } else { None };
        let trailing = stream.trailers().await?.unwrap_or_default();
        match (message, second) {
            (Some(message), None) => Ok((message, trailing)),
            (None, _) => Err(Status::internal("the handler ended without an answer")),
            (Some(_), Some(_)) => {
                Err(Status::unimplemented("streaming answers do not travel through the queue"))
            }
        }
    }
}

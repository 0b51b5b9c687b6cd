//! Questions and answers on a stream of reflection.

use super::{Answer, Question};
use http::uri::PathAndQuery;
use http_body::Body as HttpBody;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::codegen::{Bytes, StdError};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

/// A conversation by one version of reflection, whose messages are those of all.
pub(super) struct Conversation<T> {
    grpc: Grpc<T>,
    path: &'static str,
    /// None at first, and after an error, with which servers may end a stream.
    stream: Option<(UnboundedSender<ServerReflectionRequest>, Streaming<ServerReflectionResponse>)>,
}

impl<T> Conversation<T>
where
    T: GrpcService<Body> + Clone,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    pub(super) fn new(server: T, path: &'static str, most: usize) -> Self {
        Self { grpc: Grpc::new(server).max_decoding_message_size(most), path, stream: None }
    }

    pub(super) async fn ask(&mut self, question: Question) -> Result<Answer, Status> {
        let request =
            ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        // Put back when the server has answered.
        let (sender, mut answers) = match self.stream.take() {
            Some((sender, answers)) => {
                // A server that has hung up says so where its answer is awaited.
                let _ = sender.send(request);
                (sender, answers)
            }
            None => self.open(request).await?,
        };
        let answer = answers.message().await?;
        let answer = answer.ok_or_else(|| Status::internal("the server ended the stream"))?;
        self.stream = Some((sender, answers));
        match answer.message_response {
            Some(Answer::ErrorResponse(error)) => {
                Err(Status::new(error.error_code.into(), error.error_message))
            }
            Some(answer) => Ok(answer),
            None => Err(Status::internal("the answer is empty")),
        }
    }

    async fn open(
        &mut self,
        first: ServerReflectionRequest,
    ) -> Result<
        (UnboundedSender<ServerReflectionRequest>, Streaming<ServerReflectionResponse>),
        Status,
    > {
        let (sender, questions) = unbounded_channel();
        // Many servers begin to answer with the first message only.
        let _ = sender.send(first);
        let ready = self.grpc.ready().await;
        ready.map_err(|error| Status::unavailable(error.into().to_string()))?;
        let request = Request::new(UnboundedReceiverStream::new(questions));
        let codec = ProstCodec::<ServerReflectionRequest, ServerReflectionResponse>::default();
        let path = PathAndQuery::from_static(self.path);
        let answers = self.grpc.streaming(request, path, codec).await?.into_inner();
        Ok((sender, answers))
    }
}

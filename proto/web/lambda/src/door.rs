//! From event to answer document, or to a streamed answer.

use crate::answer::{Shape, encoded};
use crate::base_path::BasePath;
use crate::event::{Request as HttpEvent, Source};
use crate::host::Ends;
use crate::request;
use bytes::Bytes;
use futures_util::future::ready;
use futures_util::stream::{self, BoxStream, StreamExt};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use lambda_runtime::{Error, FunctionResponse, MetadataPrelude, StreamResponse};
use queuebridge_proto::error::{self, reason};
use queuebridge_web::{Limits, Services, Web};
use serde::Serialize;
use std::collections::HashMap;
use std::future::Future;
use tokio::time::{Instant, timeout_at};
use tonic::body::Body;
use tonic::{Code, Status};

/// How a function's answers leave it. Events do not say: it is the setting of
/// the Function URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InvokeMode {
    /// Whole.
    #[default]
    Buffered,
    /// As they come; only through a Function URL.
    ResponseStream,
}

/// What answers the requests.
pub trait Calls: Clone + Send + Sync + 'static {
    /// Answers one, within the limits.
    fn call(
        &self,
        request: Request<Full<Bytes>>,
        limits: Limits,
    ) -> impl Future<Output = Response<Body>> + Send;

    /// Answers one with a status, in its own protocol.
    fn refuse(
        &self,
        head: Request<()>,
        status: Status,
    ) -> impl Future<Output = Response<Body>> + Send;

    /// Returns when nothing is under way any more that an answered call has begun:
    /// after the answer the process may be frozen.
    fn settled(&self) -> impl Future<Output = ()> + Send;
}

impl<S: Services> Calls for Web<S> {
    async fn call(&self, request: Request<Full<Bytes>>, limits: Limits) -> Response<Body> {
        Web::call(self, request, limits).await
    }

    async fn refuse(&self, head: Request<()>, status: Status) -> Response<Body> {
        Web::refuse(self, head, status).await
    }

    /// A handler's own tasks are its own matter.
    async fn settled(&self) {}
}

/// The answer document of a load balancer, an HTTP API or a Function URL.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub(crate) status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status_description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) headers: Option<HashMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) multi_value_headers: Option<HashMap<String, Vec<String>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) cookies: Vec<String>,
    pub(crate) body: String,
    pub(crate) is_base64_encoded: bool,
}

/// The chunks of a streamed answer.
pub type Chunks = BoxStream<'static, Result<Bytes, Status>>;

/// An answer whole, or in chunks.
pub enum Answered {
    /// A document.
    Whole(Answer),
    /// Head and chunks.
    Streamed(StreamResponse<Chunks>),
}

impl Answered {
    /// As the runtime takes it, with the document made into one of `A`.
    pub fn into_response<A>(
        self,
        document: impl FnOnce(Answer) -> A,
    ) -> FunctionResponse<A, Chunks> {
        match self {
            Self::Whole(answer) => FunctionResponse::BufferedResponse(document(answer)),
            Self::Streamed(answer) => FunctionResponse::StreamingResponse(answer),
        }
    }
}

/// How a door is set up.
#[derive(Clone, Debug, Default)]
pub struct DoorSettings {
    /// How answers leave through a Function URL.
    pub invoke_mode: InvokeMode,
    /// What is taken off paths. Default: nothing.
    pub base_path: Option<BasePath>,
}

/// The door for HTTP events.
pub struct Door<C> {
    calls: C,
    settings: DoorSettings,
}

impl<C: Calls> Door<C> {
    /// A door to `calls`.
    #[must_use]
    pub fn new(calls: C, settings: DoorSettings) -> Self {
        Self { calls, settings }
    }

    /// Answers a request.
    ///
    /// # Errors
    /// When the answer breaks off before it is whole.
    pub async fn answer<R>(&self, event: HttpEvent<R>, ends: Ends) -> Result<Answered, Error> {
        let (shape, function_url) = match &event.source {
            Source::Alb if event.event.multi_value_headers.is_some() => {
                (Shape::AlbMultiValue, false)
            }
            Source::Alb => (Shape::AlbSingleValue, false),
            Source::V2 { function_url, .. } => (Shape::V2, *function_url),
        };
        let mut request = match request::of(event) {
            Ok(request) => request,
            Err(error) => return Ok(Answered::Whole(unreadable(&error, shape))),
        };
        if let Some(base_path) = &self.settings.base_path {
            base_path.take_off(request.uri_mut());
        }
        if !function_url || self.settings.invoke_mode == InvokeMode::Buffered {
            let answer = self.whole(request, shape, ends.calls).await;
            self.settle(ends).await;
            return answer.map(Answered::Whole);
        }
        let limits = Limits { ends_at: Some(ends.calls), response_bytes: None };
        let (parts, body) = self.calls.call(request.map(Full::new), limits).await.into_parts();
        let metadata_prelude = MetadataPrelude {
            status_code: parts.status,
            headers: parts.headers,
            cookies: Vec::new(),
        };
        // The invocation ends with its last chunk.
        let door = Self { calls: self.calls.clone(), settings: self.settings.clone() };
        let settled = stream::once(async move {
            door.settle(ends).await;
            None
        });
        let stream = body.into_data_stream().map(Some).chain(settled).filter_map(ready).boxed();
        Ok(Answered::Streamed(StreamResponse { metadata_prelude, stream }))
    }

    async fn settle(&self, ends: Ends) {
        if timeout_at(ends.rest, self.calls.settled()).await.is_err() {
            tracing::warn!("work was still under way at the end of the invocation's time");
        }
    }

    async fn whole(
        &self,
        request: Request<Bytes>,
        shape: Shape,
        ends_at: Instant,
    ) -> Result<Answer, Error> {
        let limits =
            Limits { ends_at: Some(ends_at), response_bytes: Some(shape.response_bytes()) };
        let (parts, body) = request.into_parts();
        let mut head = Request::new(());
        (*head.method_mut(), *head.uri_mut()) = (parts.method.clone(), parts.uri.clone());
        head.headers_mut().clone_from(&parts.headers);
        let request = Request::from_parts(parts, Full::new(body));
        let answer = collected(self.calls.call(request, limits).await).await?;
        let answer = encoded(answer, shape);
        if let Some(size) = answer.too_large(shape) {
            // JSON and headers can make an answer larger than its messages.
            let message = format!("the answer of {size} bytes is larger than what passes here");
            let status =
                error::status(Code::ResourceExhausted, reason::RESPONSE_TOO_LARGE, message);
            return Ok(encoded(collected(self.calls.refuse(head, status).await).await?, shape));
        }
        Ok(answer)
    }
}

async fn collected(response: Response<Body>) -> Result<Response<Bytes>, Status> {
    let (parts, body) = response.into_parts();
    Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
}

/// What is no request gets an answer and no error, which would count as a failure
/// of the function.
fn unreadable(error: &Error, shape: Shape) -> Answer {
    let mut response = Response::new(Bytes::from(format!("{error}\n")));
    *response.status_mut() = http::StatusCode::BAD_REQUEST;
    let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    encoded(response, shape)
}

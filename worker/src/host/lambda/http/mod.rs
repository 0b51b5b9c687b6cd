//! HTTP requests that come as events: in, through the protocols, and out.

mod answer;
mod request;

#[cfg(feature = "testing")]
pub(super) use request::{from_alb, from_v2};

use super::event::Event;
use answer::{Shape, encoded};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyDataStream, BodyExt, Full};
use lambda_runtime::{Error, MetadataPrelude, StreamResponse};
use queuebridge_proto::error::{self, reason};
use queuebridge_web::{Limits, Web};
use serde::Serialize;
use std::collections::HashMap;
use tokio::time::Instant;
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

/// The answer document of a load balancer, an HTTP API or a Function URL.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<HashMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<HashMap<String, Vec<String>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<String>,
    body: String,
    is_base64_encoded: bool,
}

/// The door for HTTP events.
pub(super) struct Door {
    web: Web,
    mode: InvokeMode,
}

/// The chunks of a streamed answer.
pub(super) type Chunks = BodyDataStream<Body>;

/// An answer whole, or in chunks.
pub(super) enum Answered {
    Whole(Answer),
    Streamed(StreamResponse<Chunks>),
}

impl Door {
    pub(super) fn new(web: Web, mode: InvokeMode) -> Self {
        Self { web, mode }
    }

    /// Answers a request through a load balancer.
    pub(super) async fn alb(&self, event: Event, ends_at: Instant) -> Result<Answered, Error> {
        let shape = if event.multi_value_headers.is_some() {
            Shape::AlbMultiValue
        } else {
            Shape::AlbSingleValue
        };
        match request::from_alb(event) {
            Ok(request) => self.whole(request, shape, ends_at).await.map(Answered::Whole),
            Err(error) => Ok(Answered::Whole(unreadable(&error, shape))),
        }
    }

    /// Answers a request in the payload format 2.0.
    pub(super) async fn v2(
        &self,
        event: Event,
        method: &str,
        function_url: bool,
        ends_at: Instant,
    ) -> Result<Answered, Error> {
        let request = match request::from_v2(event, method) {
            Ok(request) => request,
            Err(error) => return Ok(Answered::Whole(unreadable(&error, Shape::V2))),
        };
        if !function_url || self.mode == InvokeMode::Buffered {
            return self.whole(request, Shape::V2, ends_at).await.map(Answered::Whole);
        }
        let limits = Limits { ends_at: Some(ends_at), response_bytes: None };
        let (parts, body) = self.web.call(request.map(Full::new), limits).await.into_parts();
        let metadata_prelude = MetadataPrelude {
            status_code: parts.status,
            headers: parts.headers,
            cookies: Vec::new(),
        };
        Ok(Answered::Streamed(StreamResponse { metadata_prelude, stream: body.into_data_stream() }))
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
        let answer = collected(self.web.call(request, limits).await).await?;
        let answer = encoded(answer, shape);
        if let Some(size) = answer.too_large(shape) {
            // JSON and headers can make an answer larger than its messages.
            let message = format!("the answer of {size} bytes is larger than what passes here");
            let status =
                error::status(Code::ResourceExhausted, reason::RESPONSE_TOO_LARGE, message);
            return Ok(encoded(collected(self.web.refuse(head, status).await).await?, shape));
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

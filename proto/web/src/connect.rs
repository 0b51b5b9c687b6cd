//! Connect: the library speaks the protocol, and hands the calls over to here.

use crate::broken::Break;
use crate::descriptors::Descriptors;
use crate::guard::Guard;
use crate::inner::Services;
use crate::trailing::Trailing;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use connectrpc::dispatcher::{RequestStream, StreamingResult, UnaryResult};
use connectrpc::{
    CodecFormat, ConnectError, Dispatcher, EncodedBody, ErrorCode, ErrorDetail, MethodDescriptor,
    MethodKind, Payload, RequestContext, Response,
};
use futures_util::{Stream, StreamExt, stream};
use http::HeaderMap;
use queuebridge_proto::headers::{is_transport, remove_hop_by_hop};
use queuebridge_proto::raw::RawCodec;
use std::sync::Arc;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status, Streaming};
use tonic_types::pb;

/// The methods of the services behind a guard.
pub(crate) struct Connect<S>(Arc<Shared<S>>);

struct Shared<S> {
    guard: Guard<S>,
    methods: Methods,
    trailing: Trailing,
}

/// Which methods there are.
#[derive(Clone)]
pub(crate) enum Methods {
    /// As the descriptors say, if there are any.
    Known(Option<Arc<Descriptors>>),
    /// Whatever the request takes them for: a refusal says neither whether there is such a
    /// method nor what it takes.
    Refused { stream: bool },
}

impl<S: Services> Connect<S> {
    /// The methods for one request, whose stream of answers `trailing` ends.
    pub(crate) fn new(guard: Guard<S>, methods: Methods, trailing: Trailing) -> Self {
        Self(Arc::new(Shared { guard, methods, trailing }))
    }
}

impl<S: Services> Dispatcher for Connect<S> {
    fn lookup(&self, path: &str) -> Option<MethodDescriptor> {
        let known = match &self.0.methods {
            Methods::Known(known) => known.as_ref().and_then(|known| known.method(path)),
            Methods::Refused { stream: true } => {
                Some(MethodDescriptor::from_kind(MethodKind::BidiStreaming))
            }
            Methods::Refused { stream: false } => Some(MethodDescriptor::unary(true)),
        };
        // Without descriptors, or for a service that is not among them: the
        // services say whether they have it.
        Some(known.unwrap_or_else(|| MethodDescriptor::unary(false)))
    }

    fn call_unary(
        &self,
        path: &str,
        context: RequestContext,
        request: Payload,
        format: CodecFormat,
    ) -> UnaryResult {
        let call = self.call(path, context, format);
        Box::pin(async move {
            let request = request.encoded()?;
            call.single(stream::iter([Ok(request)])).await
        })
    }

    fn call_client_streaming(
        &self,
        path: &str,
        context: RequestContext,
        requests: RequestStream,
        format: CodecFormat,
    ) -> UnaryResult {
        let call = self.call(path, context, format);
        Box::pin(async move { call.single(requests).await })
    }

    fn call_server_streaming(
        &self,
        path: &str,
        context: RequestContext,
        request: Bytes,
        format: CodecFormat,
    ) -> StreamingResult {
        let call = self.call(path, context, format);
        Box::pin(async move { call.many(stream::iter([Ok(request)])).await })
    }

    fn call_bidi_streaming(
        &self,
        path: &str,
        context: RequestContext,
        requests: RequestStream,
        format: CodecFormat,
    ) -> StreamingResult {
        let call = self.call(path, context, format);
        Box::pin(async move { call.many(requests).await })
    }
}

impl<S: Services> Connect<S> {
    fn call(&self, path: &str, context: RequestContext, format: CodecFormat) -> Call<S> {
        Call { shared: self.0.clone(), path: path.to_owned(), context, format }
    }
}

/// One call on its way to the services.
struct Call<S> {
    shared: Arc<Shared<S>>,
    path: String,
    context: RequestContext,
    format: CodecFormat,
}

type Requests = Result<Bytes, ConnectError>;

impl<S: Services> Call<S> {
    /// One answer.
    async fn single(
        self,
        requests: impl Stream<Item = Requests> + Send + 'static,
    ) -> Result<Response<EncodedBody>, ConnectError> {
        let (headers, mut answers) = self.send(requests).await?;
        let headers = metadata(headers);
        let failed = |status| failed(status).with_headers(headers.clone());
        let message = answers.message().await.map_err(failed)?;
        let second = match message {
            Some(_) => answers.message().await.map_err(failed)?,
            None => None,
        };
        let trailers = answers.trailers().await.map_err(failed)?.unwrap_or_default();
        let message = match (message, second) {
            (Some(message), None) => message,
            (None, _) => return Err(ConnectError::internal("the handler gave no answer")),
            (Some(_), Some(_)) => {
                let message = "the method answers with a stream, which needs its descriptors here";
                return Err(ConnectError::unimplemented(message));
            }
        };
        let body = self.shared.outgoing(&self.path, self.format, message)?;
        let mut response = Response::new(EncodedBody::Contiguous(body));
        response.headers = headers;
        response.trailers = metadata(trailers);
        Ok(response)
    }

    /// A stream of answers.
    async fn many(
        self,
        requests: impl Stream<Item = Requests> + Send + 'static,
    ) -> Result<Response<connectrpc::EncodedStream>, ConnectError> {
        let (headers, answers) = self.send(requests).await?;
        let encoded = stream::unfold((self, answers), |(call, mut answers)| async move {
            let answer = call.next(&mut answers).await.transpose()?;
            Some((answer, (call, answers)))
        });
        let mut response = Response::new(encoded.boxed() as connectrpc::EncodedStream);
        response.headers = metadata(headers);
        Ok(response)
    }

    /// The next answer of a stream; after the last one, its trailing metadata are
    /// left to the end of the response.
    async fn next(
        &self,
        answers: &mut Streaming<Bytes>,
    ) -> Result<Option<EncodedBody>, ConnectError> {
        let Some(message) = answers.message().await.map_err(failed)? else {
            if let Some(trailers) = answers.trailers().await.map_err(failed)? {
                self.shared.trailing.set(metadata(trailers));
            }
            return Ok(None);
        };
        let body = self.shared.outgoing(&self.path, self.format, message)?;
        Ok(Some(EncodedBody::Contiguous(body)))
    }

    async fn send(
        &self,
        requests: impl Stream<Item = Requests> + Send + 'static,
    ) -> Result<(MetadataMap, Streaming<Bytes>), ConnectError> {
        let (shared, path, format) = (self.shared.clone(), self.path.clone(), self.format);
        // A request that cannot be read is its sender's fault and ends the call
        // before the handler sees it, if it is the first; later ones break it off.
        let requests = requests.map(move |request| {
            request.and_then(|request| shared.incoming(&path, format, request))
        });
        let mut requests = Box::pin(requests.fuse());
        let first = requests.next().await.transpose()?;
        let broken = Break::default();
        let rest = broken.until(requests);
        let mut request = Request::new(stream::iter(first).chain(rest));
        *request.metadata_mut() = MetadataMap::from_headers(metadata_of(self.context.headers()));
        // What the connection knows of its peer.
        *request.extensions_mut() = self.context.extensions().clone();
        if let Some(remaining) = self.context.time_remaining() {
            request.set_timeout(remaining);
        }
        let path = http::uri::PathAndQuery::try_from(format!("/{}", self.path))
            .map_err(|_| ConnectError::unimplemented("not a method"))?;
        let services = broken.before(self.shared.guard.clone());
        let mut grpc = Grpc::new(services).max_decoding_message_size(usize::MAX);
        let response = grpc.streaming(request, path, RawCodec).await.map_err(failed)?;
        let (metadata, stream, _) = response.into_parts();
        Ok((metadata, stream))
    }
}

impl<S> Shared<S> {
    /// From what the client sent to what the services take.
    fn incoming(
        &self,
        path: &str,
        format: CodecFormat,
        message: Bytes,
    ) -> Result<Bytes, ConnectError> {
        if format == CodecFormat::Proto || matches!(self.methods, Methods::Refused { .. }) {
            return Ok(message);
        }
        self.known()?.read_json(path, &message).map_err(|error| match error {
            Some(error) => ConnectError::invalid_argument(error),
            None => unknown(path),
        })
    }

    /// From what the services answered to what the client takes.
    fn outgoing(
        &self,
        path: &str,
        format: CodecFormat,
        message: Bytes,
    ) -> Result<Bytes, ConnectError> {
        if format == CodecFormat::Proto {
            return Ok(message);
        }
        self.known()?.write_json(path, message).map_err(|error| match error {
            Some(error) => ConnectError::internal(error),
            None => unknown(path),
        })
    }

    fn known(&self) -> Result<&Descriptors, ConnectError> {
        if let Methods::Known(Some(known)) = &self.methods {
            return Ok(known);
        }
        let message = "JSON needs the descriptors of the service, which this server was not given";
        Err(ConnectError::unimplemented(message))
    }
}

fn unknown(path: &str) -> ConnectError {
    ConnectError::unimplemented(format!("{path} is not among the descriptors of this server"))
}

/// The metadata among the headers of a request.
fn metadata_of(headers: &HeaderMap) -> HeaderMap {
    let mut metadata = headers.clone();
    remove_hop_by_hop(&mut metadata);
    let others = headers.keys().filter(|name| {
        let name = name.as_str();
        is_transport(name) || name.starts_with("connect-") || name == "accept"
    });
    others.for_each(|name| drop(metadata.remove(name)));
    metadata
}

/// The metadata of an answer as headers, without what belongs to the transport.
fn metadata(map: MetadataMap) -> HeaderMap {
    let mut headers = map.into_headers();
    remove_hop_by_hop(&mut headers);
    let transport: Vec<_> = headers.keys().filter(|k| is_transport(k.as_str())).cloned().collect();
    transport.iter().for_each(|name| drop(headers.remove(name)));
    headers
}

/// A status in Connect's words.
fn failed(status: Status) -> ConnectError {
    let number = u32::try_from(i32::from(status.code())).unwrap_or(2);
    let code = ErrorCode::from_grpc_code(number).unwrap_or(ErrorCode::Unknown);
    let mut error = ConnectError::new(code, status.message());
    if let Ok(full) = <pb::Status as prost::Message>::decode(status.details()) {
        for detail in full.details {
            let name = detail.type_url.rsplit('/').next().unwrap_or_default().to_owned();
            let value = Some(STANDARD_NO_PAD.encode(&detail.value));
            error = error.with_detail(ErrorDetail { type_url: name, value, debug: None });
        }
    }
    error.with_trailers(metadata(status.metadata().clone()))
}

//! A method that knows no message: it returns what it is sent.

use bytes::Bytes;
use http_body::Body;
use queuebridge_proto::raw::RawCodec;
use std::convert::Infallible;
use tonic::codegen::StdError;
use tonic::server::Grpc;
use tonic::{Request, Response, Status, Streaming};

/// Answers a call of any method.
pub(super) async fn anything<B>(
    request: http::Request<B>,
) -> Result<http::Response<tonic::body::Body>, Infallible>
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send,
{
    let back = tower::service_fn(async |request: Request<Streaming<Bytes>>| {
        Ok::<_, Status>(Response::new(request.into_inner()))
    });
    Ok(Grpc::new(RawCodec).streaming(back, request).await)
}

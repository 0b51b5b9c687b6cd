//! Requests without compression, whatever their callers have sent: each message is decompressed
//! as a whole before any service sees it.
//!
//! The decoder of tonic 0.14 stops after the first member of gzip, so that a message of several
//! became another one, with status OK.

mod body;
pub(crate) mod codec;
#[cfg(test)]
mod tests;

use body::Inflating;
use codec::Codec;
use http::{HeaderValue, Request};
use queuebridge_proto::error::{self, reason};
use tonic::body::Body;
use tonic::{Code, Status};

const ENCODING: &str = "grpc-encoding";
const ACCEPTED: &str = "grpc-accept-encoding";

/// An extension of requests: the caller compresses its messages, and takes compressed answers.
#[derive(Clone, Copy, Debug)]
pub struct CameCompressed;

/// The request with messages of at most `most` bytes, none of them compressed. Its extensions
/// have [`CameCompressed`] if there is an encoding. The body ends with `INVALID_ARGUMENT`/
/// `MALFORMED_MESSAGE` at a message that is damaged, or followed by other bytes, and with
/// `RESOURCE_EXHAUSTED`/`PAYLOAD_TOO_LARGE` at one that is too large.
///
/// # Errors
/// `UNIMPLEMENTED` for an encoding other than `identity`, `gzip` and `zstd`, with those in
/// `grpc-accept-encoding` (gRPC, "Compression").
pub(crate) fn inflated(mut request: Request<Body>, most: usize) -> Result<Request<Body>, Status> {
    let Some(encoding) = request.headers_mut().remove(ENCODING) else { return Ok(request) };
    let name = encoding.to_str().unwrap_or_default();
    if name == "identity" {
        return Ok(request);
    }
    let codec = Codec::named(name).ok_or_else(|| unknown(name))?;
    request.extensions_mut().insert(CameCompressed);
    request.headers_mut().remove(http::header::CONTENT_LENGTH);
    Ok(request.map(|body| Body::new(Inflating::new(body, codec, most))))
}

fn unknown(name: &str) -> Status {
    let message = format!("messages may be compressed with gzip or zstd, and not with {name:?}");
    let mut status = error::status(Code::Unimplemented, reason::UNKNOWN_ENCODING, message);
    let accepted = HeaderValue::from_static("identity,gzip,zstd");
    let mut headers = std::mem::take(status.metadata_mut()).into_headers();
    headers.insert(ACCEPTED, accepted);
    *status.metadata_mut() = tonic::metadata::MetadataMap::from_headers(headers);
    status
}

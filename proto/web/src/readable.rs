//! Requests as services read them.

use crate::content_type::Format;
use crate::inflate::inflated;
use http::Request;
use tonic::Status;
use tonic::body::Body;

/// A call of gRPC, with messages of at most `most` bytes, none of them compressed; see
/// [`CameCompressed`](crate::CameCompressed).
///
/// # Errors
/// `UNIMPLEMENTED`: `UNKNOWN_CODEC` if its messages are not Protobuf, `UNKNOWN_ENCODING` if they
/// are compressed otherwise than with gzip and Zstandard.
pub fn readable(request: Request<Body>, most: usize) -> Result<Request<Body>, Status> {
    Format::check(request.headers())?;
    inflated(request, most)
}

//! Requests that break off.
//!
//! Tonic takes a stream that its client has reset for one that has ended: a handler that
//! runs in the same process is dropped at that moment anyway. Here the request would go
//! on through the queue as if it were whole.

use http_body_util::BodyExt;
use tonic::Status;
use tonic::body::Body;

/// A body whose breaking off is an error for everyone.
pub(super) fn whole(body: Body) -> Body {
    Body::new(body.map_err(|status| match is_refusal(&status) {
        true => status,
        // Any code but CANCELLED, which is the one that is overlooked.
        false => Status::aborted("the caller broke the request off"),
    }))
}

/// Whether the gateway itself has ended the request. What a connection says has no details.
pub(super) fn is_refusal(status: &Status) -> bool {
    !status.details().is_empty()
}

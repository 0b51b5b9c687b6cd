//! The service of gRPC's published interoperability tests, as an ordinary tonic
//! service that knows nothing of queues.
//!
//! Every gRPC library has clients for it, so it is the measure of what a bridge
//! may change about a call: nothing. The binary `interop` serves it behind the
//! gateway, or by itself, which proves the service and its clients first.

use queuebridge_demo::probe::trailers::WithTrailers;
use queuebridge_store::Clock;
use testing::test_service_server::TestServiceServer;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;

mod compression;
pub mod direct;
mod echo;
mod payload;
mod service;
pub mod strangers;
mod streams;
#[cfg(test)]
mod tests;

pub use payload::MAX_BODY_BYTES;
pub use service::Interop;

/// The generated messages, clients and server traits of `grpc.testing`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod testing {
    tonic::include_proto!("grpc.testing");
}

/// The serialized `FileDescriptorSet` of the service.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// `grpc.testing.TestService`, and nothing beside it: that a call to any other
/// service is `UNIMPLEMENTED` is one of the published cases.
#[must_use]
pub fn routes(clock: Clock) -> Routes {
    let service = TestServiceServer::new(Interop::new(clock))
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    Routes::new(WithTrailers::new(compression::Observing::new(service)))
}

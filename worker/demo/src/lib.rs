//! The demo services of Queuebridge: ordinary tonic services that know nothing
//! of queues.
//!
//! [`Images`] does real work on pictures; [`Probe`] exercises what a bridge has
//! to carry: metadata, trailers, statuses with details, panics, waiting.
//! [`routes`] is what a worker, the embedded stack or a plain tonic server runs.

use std::path::PathBuf;
use tonic::service::Routes;

pub mod images;
pub mod probe;
pub mod refusal;

pub use images::Images;
pub use probe::Probe;

/// The generated messages, clients and server traits of `queuebridge.demo.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    tonic::include_proto!("queuebridge.demo.v1");
}

/// The serialized `FileDescriptorSet` of the demo services, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The largest request and the largest answer of a demo service in bytes: photos
/// of current cameras fit, and a worker with 1 GiB can hold several.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// All demo services. `Probe.Append` refuses its work, for want of a directory.
#[must_use]
pub fn routes() -> Routes {
    build(Probe::new(None))
}

/// All demo services, with `Probe.Append` writing directly below `dir`, which
/// must exist by the first call. For tests: callers can fill the disk.
#[must_use]
pub fn routes_with_probe(dir: impl Into<PathBuf>) -> Routes {
    build(Probe::new(Some(dir.into())))
}

fn build(probe: Probe) -> Routes {
    let images = v1::images_server::ImagesServer::new(Images::new())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Routes::new(images).add_service(probe.into_service())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reflection_knows_both_services_and_their_comments() {
        let text = String::from_utf8_lossy(FILE_DESCRIPTOR_SET);
        for name in ["queuebridge.demo.v1", "Images", "Probe", "google/protobuf/duration.proto"] {
            assert!(text.contains(name), "{name} is missing");
        }
    }
}

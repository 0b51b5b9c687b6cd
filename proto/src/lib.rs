//! The contract of Queuebridge: messages and services, the envelope that
//! travels through the queue, signed job ids, and outcomes.
//!
//! Nothing here does I/O, reads a clock or the environment, or knows AWS: time
//! and randomness come in as arguments, so that every function can be tested at
//! its boundaries.

pub mod callback;
pub mod client;
pub mod codec;
pub mod codes;
mod compression;
pub mod duration;
pub mod encryption;
pub mod envelope;
pub mod error;
mod fields;
pub mod framing;
pub mod gather;
pub mod headers;
pub mod job_id;
pub mod keys;
pub mod metadata;
pub mod method;
pub mod outcome;
pub mod printable;
pub mod raw;
pub mod redaction;
pub mod reply;
pub mod resubmit;
pub mod stored;
pub mod tenant;
pub mod time;
pub mod traceparent;

pub use envelope::EnvelopeError;
pub use job_id::{JobId, JobIdError};
pub use keys::Keyring;
pub use method::MethodName;
pub use time::UnixMillis;

pub use generated::google::longrunning;
pub use generated::grpc::health::v1 as health;
pub use generated::queuebridge::v1;

/// The generated messages and services, nested as their packages are.
#[allow(missing_docs, unreachable_pub, clippy::all)]
mod generated {
    pub mod google {
        /// The messages and the service of `google.longrunning`.
        pub mod longrunning {
            tonic::include_proto!("google.longrunning");
        }
    }
    pub mod grpc {
        pub mod health {
            /// The messages and the service of `grpc.health.v1`.
            pub mod v1 {
                tonic::include_proto!("grpc.health.v1");
            }
        }
    }
    pub mod queuebridge {
        /// The messages and services of `queuebridge.v1`.
        pub mod v1 {
            tonic::include_proto!("queuebridge.v1");
        }
    }
}

/// The serialized `FileDescriptorSet` of the contract, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The serialized `FileDescriptorSet` of `grpc.health.v1`.
pub const HEALTH_FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/health.bin"));

/// The descriptors, serialized, of the types that come with Protobuf and of `google.rpc`:
/// they are met in a `google.protobuf.Any` without being imported.
pub const KNOWN_TYPES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/known.bin"));

/// The full name of the `Operations` service, as health checks ask for it.
pub const OPERATIONS_SERVICE: &str = longrunning::operations_server::SERVICE_NAME;

/// The full name of the `Executions` service, as health checks ask for it.
pub const EXECUTIONS_SERVICE: &str = v1::executions_server::SERVICE_NAME;

/// The full name of the `Jobs` service, as health checks ask for it.
pub const JOBS_SERVICE: &str = v1::jobs_server::SERVICE_NAME;

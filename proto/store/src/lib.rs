//! What rests between gateway and worker: results, gathers, submissions, streams,
//! leases and payloads, each behind a small seam with several implementations.
//!
//! Errors of a seam mean only "could not find out": everything that the stores
//! can know is a value. Time is an argument; nobody here reads a clock, except
//! [`Clock`] itself, which the programs hand down.

#[cfg(feature = "aws")]
pub mod aws;
pub mod clock;
#[cfg(feature = "aws")]
pub mod dynamodb;
pub mod encryption;
pub mod gather;
pub mod lease;
pub mod memory;
pub mod payload;
pub mod record;
pub mod result;
mod rules;
#[cfg(feature = "aws")]
pub mod s3;
pub mod stream;
pub mod submission;
#[cfg(feature = "testing")]
pub mod testing;

pub use clock::Clock;
pub use encryption::{Encryption, Seal};
pub use gather::{GatherStore, Gathers};
pub use lease::{Acquired, LeaseStore};
pub use payload::{PayloadError, PayloadStore, PayloadStream};
pub use record::{Record, Token};
pub use result::{
    Author, Cancelled, Claim, ClaimRequest, Claimed, Completed, Deleted, End, Lapsed, Lease,
    Renewed, ResultStore, StoreError,
};
pub use stream::{Lane, StreamStore};
pub use submission::{Accepted, NewSubmission, Owner, RequestKey, SubmissionStore};

use std::sync::Arc;

/// The largest outcome of a record: a DynamoDB item holds 400 KB, its other attributes
/// included.
pub const RECORD_BYTES: usize = 380_000;

/// The stores of a deployment.
#[derive(Clone)]
pub struct Stores {
    /// What is known about jobs.
    pub results: Arc<dyn ResultStore>,
    /// What the branches of jobs have come to.
    pub gathers: Arc<dyn GatherStore>,
    /// Which job an idempotent submission has started.
    pub submissions: Arc<dyn SubmissionStore>,
    /// The messages of streams.
    pub streams: Arc<dyn StreamStore>,
    /// Who reads which reply shard.
    pub leases: Arc<dyn LeaseStore>,
    /// Large requests and answers.
    pub payloads: Option<Arc<dyn PayloadStore>>,
    /// How what is in them is encrypted, if it is: set by [`Stores::encrypted`].
    pub encryption: Option<Encryption>,
}

impl Stores {
    /// One store in five roles, and the payloads' own.
    #[must_use]
    pub fn new<S>(store: Arc<S>, payloads: Option<Arc<dyn PayloadStore>>) -> Self
    where
        S: ResultStore + GatherStore + SubmissionStore + StreamStore + LeaseStore,
    {
        let (results, gathers, submissions) = (store.clone(), store.clone(), store.clone());
        let (streams, leases) = (store.clone(), store);
        Self { results, gathers, submissions, streams, leases, payloads, encryption: None }
    }
}

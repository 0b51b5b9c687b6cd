//! What rests between gateway and worker: the result store and the payload
//! store, each a small seam with several implementations.
//!
//! Errors of a seam mean only "could not find out": everything that the stores
//! can know is a value. Time is an argument; nobody here reads a clock, except
//! [`Clock`] itself, which the programs hand down.

pub mod clock;
#[cfg(feature = "aws")]
pub mod dynamodb;
pub mod memory;
pub mod payload;
pub mod record;
pub mod result;
mod rules;
#[cfg(feature = "aws")]
pub mod s3;
#[cfg(feature = "testing")]
pub mod testing;

pub use clock::Clock;
pub use payload::{PayloadError, PayloadStore};
pub use record::{Record, Token};
pub use result::{
    Accepted, Author, Cancelled, Claim, Completed, Lapsed, Lease, Renewed, RequestKey, ResultStore,
    StoreError,
};

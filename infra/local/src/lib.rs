//! Queuebridge in one process: gateway, loopback queue, worker and memory store.
//!
//! ```no_run
//! # async fn example(routes: tonic::service::Routes) -> Result<(), queuebridge_local::LocalError> {
//! // The whole bridge around a service owner's own services:
//! queuebridge_local::serve(routes).await
//! # }
//! ```
//!
//! It is for development and tests: what rests in memory is gone with the
//! process.

mod announce;
mod branches;
pub mod endpoint;
pub mod loopback;
mod outbox;
mod source;
mod stack;

pub use branches::{Branches, Over};
pub use outbox::LoopbackOutbox;
pub use queuebridge_web::HostPattern;
pub use source::LoopbackSource;
pub use stack::{LocalError, Stack, serve};

//! Runs ordinary tonic services on batches of queue messages.
//!
//! A service owner writes a tonic service as ever and hands it over:
//!
//! ```no_run
//! # async fn example(routes: tonic::service::Routes) -> Result<(), queuebridge_worker::RunError> {
//! queuebridge_worker::Worker::new(routes).run().await
//! # }
//! ```
//!
//! The same binary is a Lambda function behind an SQS event source, or a
//! container that polls its queue: [`Worker::run`] chooses by the environment.
//! Either way a message becomes a [`Delivery`], and [`batch`] runs deliveries and
//! says for each what should happen next.

mod announce;
mod answers;
pub mod batch;
pub mod branch;
mod callback;
pub mod callbacks;
mod claim;
pub mod config;
pub mod context;
mod dead_letters;
pub mod delivery;
mod dispatch;
mod ended;
mod finish;
mod gather;
mod handle;
pub mod host;
mod job;
mod journal;
pub mod next;
mod offload;
pub mod outbox;
mod park;
mod parting;
mod progress;
mod requests;
pub mod runner;
mod snooze;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
mod unserved;
pub mod verdict;
mod worker;

pub use branch::Branch;
pub use context::JobContext;
pub use delivery::Delivery;
pub use outbox::Outbox;
pub use runner::{JobStores, Role, Runner, RunnerSettings};
pub use verdict::{Reason, Verdict};
pub use worker::{RunError, Worker, shutdown_signal};

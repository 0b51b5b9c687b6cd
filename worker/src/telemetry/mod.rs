//! What a worker says about its work: metrics, traces, logs.
//!
//! A delivery writes what happens to it into its [`Observation`]; the batch adds
//! them up, without locks, and writes its metrics when it ends. Nothing here can
//! fail a job.

mod batch;
mod document;
mod emf;
mod observation;
#[cfg(test)]
mod specification;

pub(crate) use batch::BatchMetrics;
pub use emf::Emf;
pub(crate) use observation::Observation;

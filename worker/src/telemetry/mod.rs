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

use crate::delivery::Delivery;
use queuebridge_store::Clock;
use std::sync::Arc;

/// What a runner says, and where. By default it says nothing.
#[derive(Clone, Debug, Default)]
pub struct Telemetry {
    /// Where metrics go, if anywhere.
    pub metrics: Option<Arc<Emf>>,
}

impl Telemetry {
    /// The metrics of a batch of these deliveries, if there are metrics.
    pub(crate) fn batch(&self, clock: Clock, deliveries: &[Delivery]) -> Option<BatchMetrics> {
        let queue = queue_name(deliveries);
        self.metrics.clone().map(|emf| BatchMetrics::new(emf, clock, queue, deliveries.len()))
    }

    /// For one delivery.
    pub(crate) fn observation(&self) -> Observation {
        Observation::new(self.metrics.is_some())
    }
}

/// The name of the queue that a batch comes from: hosts say its ARN or its URL.
fn queue_name(deliveries: &[Delivery]) -> &str {
    let source = deliveries.first().map_or("", |delivery| &*delivery.source);
    source.rsplit(['/', ':']).next().unwrap_or_default()
}

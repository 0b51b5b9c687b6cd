//! What a worker says about its work: metrics, traces, logs.
//!
//! A delivery writes what happens to it into its `Observation`; the batch adds
//! them up, without locks, and writes its metrics when it ends. Nothing here can
//! fail a job.

mod batch;
mod context;
mod document;
mod emf;
mod observation;
#[cfg(feature = "otel")]
mod otel;
#[cfg(not(feature = "otel"))]
#[path = "untraced.rs"]
mod otel;
mod span;
#[cfg(test)]
mod specification;
pub(crate) mod subscriber;

pub(crate) use batch::BatchMetrics;
pub(crate) use context::created;
pub use emf::Emf;
pub(crate) use observation::{Observation, Parts};
pub use otel::{Traces, TracesError};
pub(crate) use span::BatchSpan;

use crate::delivery::Delivery;
use queuebridge_store::Clock;
use span::{Kind, queue_name};
use std::sync::Arc;
use std::time::Duration;

/// What a runner says, and where. By default it says nothing but what it logs.
#[derive(Clone, Debug, Default)]
pub struct Telemetry {
    /// Where metrics go, if anywhere.
    pub metrics: Option<Arc<Emf>>,
    /// Where traces go, if anywhere: a part of the subscriber, too.
    pub traces: Option<Traces>,
    /// Deliveries come from a function's host, and not from a loop.
    pub faas: bool,
}

impl Telemetry {
    /// The metrics of a batch of these deliveries, if there are metrics.
    pub(crate) fn metrics(&self, clock: Clock, deliveries: &[Delivery]) -> Option<BatchMetrics> {
        let queue = queue_name(deliveries.first().map_or("", |first| &first.source));
        self.metrics.clone().map(|emf| BatchMetrics::new(emf, clock, queue, deliveries.len()))
    }

    /// The span of a batch of these deliveries.
    pub(crate) fn span(&self, deliveries: &[Delivery]) -> BatchSpan {
        BatchSpan::new(Kind { traced: self.traces.is_some(), faas: self.faas }, deliveries)
    }

    /// For one delivery.
    pub(crate) fn observation(&self) -> Observation {
        Observation::new(self.metrics.is_some())
    }

    /// Sends the traces of what has ended, within this time: a function may be
    /// frozen after its answer.
    pub(crate) async fn flush(&self, patience: Duration) {
        if let Some(traces) = &self.traces {
            traces.flush(patience).await;
        }
    }

    /// Sends what is left, at the end of the process.
    pub(crate) async fn shut_down(&self) {
        if let Some(traces) = &self.traces {
            traces.shut_down().await;
        }
    }
}

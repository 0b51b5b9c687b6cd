//! In the place of `otel`, where a worker is built without it: there are no
//! traces, and whoever asks for them is told so.

use super::span::BatchSpan;
use crate::config::TracesConfig;
use crate::delivery::Delivery;
use crate::job::Job;
use queuebridge_proto::v1::TraceContext;
use std::time::Duration;
use tonic::Code;
use tracing::Span;
use tracing_subscriber::layer::Identity;

/// Where traces go: nowhere. The feature `otel` is off.
#[derive(Clone, Debug)]
pub enum Traces {}

/// Traces need the feature `otel`.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this worker was built without the feature `otel`")]
pub struct TracesError;

impl Traces {
    /// Fails.
    ///
    /// # Errors
    /// Always.
    pub fn start(_function: Option<&str>, _config: &TracesConfig) -> Result<Self, TracesError> {
        Err(TracesError)
    }

    /// Nothing can be asked of traces that do not exist.
    pub fn layer(&self) -> Identity {
        match *self {}
    }

    pub(super) async fn flush(&self, _patience: Duration) {
        match *self {}
    }

    pub(super) async fn shut_down(&self) {
        match *self {}
    }
}

pub(super) fn batch(_span: &BatchSpan, _count: usize) {}

pub(super) fn delivery(_: &Span, _: &BatchSpan, _: &Delivery, _: Option<&Job<'_>>) {}

pub(super) fn attempt(_span: &Span, _attempt: u32) {}

pub(super) fn ended(_span: &Span, _answer: Option<Code>) {}

pub(super) fn outgoing(_span: &Span) -> Option<TraceContext> {
    None
}

//! What happened to one delivery.

use super::otel;
use super::span::BatchSpan;
use crate::delivery::Delivery;
use crate::job::Job;
use queuebridge_proto::MethodName;
use queuebridge_proto::v1::{State, TraceContext};
use std::sync::OnceLock;
use std::time::Duration;
use tonic::Code;
use tracing::Span;

/// Written by the steps of a job's life, each of which happens once; read by the
/// batch. One that is off keeps nothing.
#[derive(Debug, Default)]
pub(crate) struct Observation {
    on: bool,
    span: OnceLock<Span>,
    method: OnceLock<MethodName>,
    start: OnceLock<Start>,
    end: OnceLock<(Duration, Option<Code>)>,
    finished: OnceLock<State>,
    parked: OnceLock<&'static str>,
    snoozed: OnceLock<()>,
}

/// The start of a handler.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// How long after the submission.
    pub(super) age: Duration,
    /// Which attempt, from 1.
    pub(super) attempt: u32,
}

impl Observation {
    pub(crate) fn new(on: bool) -> Self {
        Self { on, ..Self::default() }
    }

    /// Its envelope was opened, or could not be. The rest of its life is to be
    /// run in this span.
    pub(crate) fn opened(
        &self,
        batch: &BatchSpan,
        delivery: &Delivery,
        job: Option<&Job<'_>>,
    ) -> Span {
        if let (true, Some(job)) = (self.on, job) {
            let _ = self.method.set(job.method.clone());
        }
        self.span.get_or_init(|| batch.delivery(delivery, job)).clone()
    }

    /// It is this attempt.
    pub(crate) fn attempt(&self, attempt: u32) {
        if let Some(span) = self.span.get() {
            span.record("attempt", attempt);
            otel::attempt(span, attempt);
        }
    }

    /// Its handler is called.
    pub(crate) fn started(&self, age: Duration, attempt: u32) {
        self.keep(&self.start, Start { age, attempt });
    }

    /// Its handler has ended: with an answer, or in another way.
    pub(crate) fn ended(&self, after: Duration, answer: Option<Code>) {
        if let Some(span) = self.span.get() {
            otel::ended(span, answer);
        }
        self.keep(&self.end, (after, answer));
    }

    /// The trace context for what the handler calls, where traces are exported.
    pub(crate) fn trace(&self) -> Option<TraceContext> {
        self.span.get().and_then(otel::outgoing)
    }

    /// Its outcome was stored, by this delivery and no other.
    pub(crate) fn finished(&self, state: State) {
        self.keep(&self.finished, state);
    }

    /// Its message was copied to the parking queue.
    pub(crate) fn parked(&self, reason: &'static str) {
        self.keep(&self.parked, reason);
    }

    /// Its next copy was sent with a delay.
    pub(crate) fn snoozed(&self) {
        self.keep(&self.snoozed, ());
    }

    fn keep<T>(&self, place: &OnceLock<T>, value: T) {
        if self.on {
            let _ = place.set(value);
        }
    }

    /// What it was, for the batch, if anyone wants to know. Its span ends here.
    pub(crate) fn into_parts(self) -> Option<Box<Parts>> {
        if !self.on {
            return None;
        }
        Some(Box::new(Parts {
            method: self.method.into_inner(),
            start: self.start.into_inner(),
            end: self.end.into_inner(),
            finished: self.finished.into_inner(),
            parked: self.parked.into_inner(),
            snoozed: self.snoozed.into_inner().is_some(),
        }))
    }
}

/// An [`Observation`] to be read.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(super) method: Option<MethodName>,
    pub(super) start: Option<Start>,
    pub(super) end: Option<(Duration, Option<Code>)>,
    pub(super) finished: Option<State>,
    pub(super) parked: Option<&'static str>,
    pub(super) snoozed: bool,
}

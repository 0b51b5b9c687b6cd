//! What happened to one delivery.

use queuebridge_proto::MethodName;
use queuebridge_proto::v1::State;
use std::sync::OnceLock;
use std::time::Duration;
use tonic::Code;

/// Written by the steps of a job's life, each of which happens once; read by the
/// batch. One that is off keeps nothing.
#[derive(Debug, Default)]
pub(crate) struct Observation {
    on: bool,
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

    /// Its envelope was opened.
    pub(crate) fn opened(&self, method: &MethodName) {
        if self.on {
            let _ = self.method.set(method.clone());
        }
    }

    /// Its handler is called.
    pub(crate) fn started(&self, age: Duration, attempt: u32) {
        self.keep(&self.start, Start { age, attempt });
    }

    /// Its handler has ended: with an answer, or in another way.
    pub(crate) fn ended(&self, after: Duration, answer: Option<Code>) {
        self.keep(&self.end, (after, answer));
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

    /// Itself, if it is to be read.
    pub(crate) fn kept(self) -> Option<Box<Self>> {
        self.on.then(|| Box::new(self))
    }

    /// What it was, for the batch.
    pub(super) fn into_parts(self) -> Parts {
        Parts {
            method: self.method.into_inner(),
            start: self.start.into_inner(),
            end: self.end.into_inner(),
            finished: self.finished.into_inner(),
            parked: self.parked.into_inner(),
            snoozed: self.snoozed.into_inner().is_some(),
        }
    }
}

/// An [`Observation`] to be read.
pub(super) struct Parts {
    pub(super) method: Option<MethodName>,
    pub(super) start: Option<Start>,
    pub(super) end: Option<(Duration, Option<Code>)>,
    pub(super) finished: Option<State>,
    pub(super) parked: Option<&'static str>,
    pub(super) snoozed: bool,
}

//! Which message is received next: a standard queue's answer, or a FIFO queue's.

use super::{
    fifo::Fifo,
    message::{Budget, Phase, Stored},
    slab::Slab,
    standard::Standard,
};

/// The order of a queue. It is told of every change of a message's phase, after
/// the change, and of every removal, before it.
pub(super) enum Order {
    Standard(Standard),
    Fifo(Fifo),
}

impl Order {
    pub(super) fn new(fifo: bool) -> Self {
        if fifo { Self::Fifo(Fifo::new()) } else { Self::Standard(Standard::new()) }
    }

    /// A message was put in, delayed or visible.
    pub(super) fn added(&mut self, messages: &mut Slab<Stored>, slot: usize, phase: Phase) {
        match self {
            Self::Fifo(fifo) => fifo.added(messages, slot),
            Self::Standard(standard) if phase == Phase::Visible => standard.visible(messages, slot),
            Self::Standard(_) => {}
        }
    }

    /// A message has become visible that was in phase `before`.
    pub(super) fn visible(&mut self, messages: &mut Slab<Stored>, slot: usize, before: Phase) {
        match self {
            Self::Fifo(fifo) => fifo.visible(messages, slot, before),
            Self::Standard(standard) => standard.visible(messages, slot),
        }
    }

    /// Takes as many messages as the budget allows; the caller sets them in
    /// flight, or removes them as messages in flight.
    pub(super) fn take(
        &mut self,
        messages: &mut Slab<Stored>,
        budget: &mut Budget,
        taken: &mut Vec<usize>,
    ) {
        match self {
            Self::Fifo(fifo) => fifo.take(messages, budget, taken),
            Self::Standard(standard) => standard.take(messages, budget, taken),
        }
    }

    /// A message is about to be removed.
    pub(super) fn removed(&mut self, messages: &mut Slab<Stored>, slot: usize) {
        match self {
            Self::Fifo(fifo) => fifo.removed(messages, slot),
            Self::Standard(standard) => standard.removed(messages, slot),
        }
    }

    /// Whether there is something to take.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Fifo(fifo) => fifo.is_ready(),
            Self::Standard(standard) => standard.is_ready(),
        }
    }
}

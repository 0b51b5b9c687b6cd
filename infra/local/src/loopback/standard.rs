//! The order of a standard queue: fair among tenants.

use super::{
    lanes::Lanes,
    message::{Budget, Phase, Stored},
    slab::Slab,
};

/// Receives go round the tenants that have something to receive, one message
/// each: a tenant's message waits for at most one message of every other tenant,
/// whatever their backlogs.
///
/// The message group id is the tenant. As in SQS a message without one is a
/// tenant of its own, so that such messages come in the order of their sending
/// and get no share as a whole: a sender that wants fairness sets the id. SQS
/// itself looks at each tenant's share of what is in flight, and promises less
/// than a strict round.
pub(super) struct Standard {
    /// Only visible messages stand in lanes.
    lanes: Lanes,
}

impl Standard {
    pub(super) fn new() -> Self {
        Self { lanes: Lanes::new() }
    }

    /// A message has become visible. After a receive, too, it goes to the end of
    /// its tenant's lane: a message that fails again and again does not hold up
    /// the others.
    pub(super) fn visible(&mut self, messages: &mut Slab<Stored>, slot: usize) {
        if let Some(lane) = self.lanes.append(messages, slot) {
            self.lanes.set_ready(lane, true);
        }
    }

    /// Takes messages for a receive.
    pub(super) fn take(
        &mut self,
        messages: &mut Slab<Stored>,
        budget: &mut Budget,
        taken: &mut Vec<usize>,
    ) {
        while let Some(lane) = self.lanes.first_ready() {
            let Some(slot) = self.lanes.lane(lane).and_then(|lane| lane.messages.first()) else {
                return;
            };
            if !messages.get(slot).is_some_and(|message| budget.spend(message.content.size)) {
                return;
            }
            if let Some(lane) = self.lanes.unlink(messages, slot) {
                self.lanes.end_turn(lane);
            }
            taken.push(slot);
        }
    }

    /// A message is about to leave the queue.
    pub(super) fn removed(&mut self, messages: &mut Slab<Stored>, slot: usize) {
        if messages.get(slot).is_some_and(|message| message.phase == Phase::Visible) {
            self.lanes.unlink(messages, slot);
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.lanes.first_ready().is_some()
    }
}

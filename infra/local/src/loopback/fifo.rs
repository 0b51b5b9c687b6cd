//! The order of a FIFO queue: strict within a group, none between groups.

use super::{
    lanes::Lanes,
    message::{Budget, Phase, Stored},
    slab::Slab,
};

/// A group may be received from when none of its messages is in flight and its
/// first one is visible. A receive takes as many of a group as it can, in order,
/// before it turns to the next group; the group is then blocked until each of
/// them is deleted or visible again. A message that is visible again is the
/// first once more, so that nothing of its group overtakes it.
pub(super) struct Fifo {
    /// All messages of a group stand in its lane, whatever their phase.
    groups: Lanes,
}

impl Fifo {
    pub(super) fn new() -> Self {
        Self { groups: Lanes::new() }
    }

    /// A new message, delayed or visible.
    pub(super) fn added(&mut self, messages: &mut Slab<Stored>, slot: usize) {
        if let Some(group) = self.groups.append(messages, slot) {
            self.refresh(messages, group);
        }
    }

    /// A message has become visible, from this phase.
    pub(super) fn visible(&mut self, messages: &Slab<Stored>, slot: usize, before: Phase) {
        let Some(group) = messages.get(slot).map(|message| message.lane) else { return };
        self.landed(group, before);
        self.refresh(messages, group);
    }

    /// Takes messages for a receive.
    pub(super) fn take(
        &mut self,
        messages: &mut Slab<Stored>,
        budget: &mut Budget,
        taken: &mut Vec<usize>,
    ) {
        while let Some(index) = self.groups.first_ready() {
            let Some(group) = self.groups.lane_mut(index) else { return };
            let mut next = group.messages.first();
            let before = group.in_flight;
            while let Some(slot) = next
                && let Some(message) = messages.get(slot)
                && message.phase == Phase::Visible
                && budget.spend(message.content.size)
            {
                group.in_flight += 1;
                taken.push(slot);
                next = messages.next(slot);
            }
            if group.in_flight == before {
                return;
            }
            self.groups.set_ready(index, false);
        }
    }

    /// A message is about to leave the queue.
    pub(super) fn removed(&mut self, messages: &mut Slab<Stored>, slot: usize) {
        let Some((group, phase)) = messages.get(slot).map(|m| (m.lane, m.phase)) else { return };
        self.landed(group, phase);
        if let Some(group) = self.groups.unlink(messages, slot) {
            self.refresh(messages, group);
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.groups.first_ready().is_some()
    }

    fn landed(&mut self, group: usize, before: Phase) {
        if before == Phase::InFlight
            && let Some(group) = self.groups.lane_mut(group)
        {
            group.in_flight -= 1;
        }
    }

    fn refresh(&mut self, messages: &Slab<Stored>, index: usize) {
        let Some(group) = self.groups.lane(index) else { return };
        let first = group.messages.first().and_then(|slot| messages.get(slot));
        let ready =
            group.in_flight == 0 && first.is_some_and(|first| first.phase == Phase::Visible);
        self.groups.set_ready(index, ready);
    }
}

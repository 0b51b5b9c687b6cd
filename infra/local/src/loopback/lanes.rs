//! Lanes of messages, and the ring in which lanes take turns.

use super::{
    message::Stored,
    slab::{List, Slab},
};
use std::{collections::HashMap, sync::Arc};

/// The messages of one group.
#[derive(Default)]
pub(super) struct Lane {
    key: Option<Arc<str>>,
    pub(super) messages: List,
    /// FIFO: how many of the messages are in flight.
    pub(super) in_flight: usize,
    in_ring: bool,
}

/// All lanes of a queue. Those with something to receive stand in the ring.
pub(super) struct Lanes {
    lanes: Slab<Lane>,
    by_key: HashMap<Arc<str>, usize>,
    ring: List,
}

impl Lanes {
    pub(super) fn new() -> Self {
        Self { lanes: Slab::new(), by_key: HashMap::new(), ring: List::default() }
    }

    /// Puts a message at the end of its group's lane, which is opened if need
    /// be. Without a group it gets a lane of its own. Returns the lane.
    pub(super) fn append(&mut self, messages: &mut Slab<Stored>, slot: usize) -> Option<usize> {
        let group = messages.get(slot)?.content.group_id.clone();
        let lane = match group.as_ref().and_then(|group| self.by_key.get(group)) {
            Some(lane) => *lane,
            None => {
                let lane = self.lanes.insert(Lane { key: group.clone(), ..Lane::default() });
                if let Some(group) = group {
                    self.by_key.insert(group, lane);
                }
                lane
            }
        };
        messages.get_mut(slot)?.lane = lane;
        messages.push_back(&mut self.lanes.get_mut(lane)?.messages, slot);
        Some(lane)
    }

    /// Takes a message out of its lane, and closes the lane after the last one.
    /// Returns the lane if it is still open.
    pub(super) fn unlink(&mut self, messages: &mut Slab<Stored>, slot: usize) -> Option<usize> {
        let index = messages.get(slot)?.lane;
        let lane = self.lanes.get_mut(index)?;
        messages.unlink(&mut lane.messages, slot);
        if !lane.messages.is_empty() {
            return Some(index);
        }
        self.set_ready(index, false);
        if let Some(key) = self.lanes.remove(index).and_then(|lane| lane.key) {
            self.by_key.remove(&key);
        }
        if self.by_key.is_empty() {
            self.by_key.shrink_to(1_024);
        }
        None
    }

    pub(super) fn lane(&self, index: usize) -> Option<&Lane> {
        self.lanes.get(index)
    }

    pub(super) fn lane_mut(&mut self, index: usize) -> Option<&mut Lane> {
        self.lanes.get_mut(index)
    }

    /// The lane whose turn it is.
    pub(super) fn first_ready(&self) -> Option<usize> {
        self.ring.first()
    }

    /// Lets a lane stand in the ring, at its end if it is new there, or not.
    pub(super) fn set_ready(&mut self, index: usize, ready: bool) {
        let Some(lane) = self.lanes.get_mut(index) else { return };
        if std::mem::replace(&mut lane.in_ring, ready) == ready {
            return;
        }
        if ready {
            self.lanes.push_back(&mut self.ring, index);
        } else {
            self.lanes.unlink(&mut self.ring, index);
        }
    }

    /// Ends a lane's turn: it goes to the end of the ring.
    pub(super) fn end_turn(&mut self, index: usize) {
        self.set_ready(index, false);
        self.set_ready(index, true);
    }
}

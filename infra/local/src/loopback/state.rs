//! A queue's books: everything that its lock guards.

use super::{
    counts::{Counts, Totals},
    dedup::Dedup,
    message::{Budget, Content, Phase, Stored},
    order::Order,
    receipt::Receipt,
    slab::{NIL, Slab},
};
use queuebridge_proto::UnixMillis;
use std::{collections::BTreeSet, time::Duration};
use uuid::Uuid;

/// Messages and their indexes. No timer runs: what is due is done at the start
/// of the next call, and every operation touches only the messages it is about.
pub(super) struct State {
    pub(super) messages: Slab<Stored>,
    pub(super) dedup: Dedup,
    pub(super) totals: Totals,
    order: Order,
    /// When delayed messages and messages in flight become visible.
    due: BTreeSet<(UnixMillis, usize)>,
    /// When messages vanish.
    expiry: BTreeSet<(UnixMillis, usize)>,
    sequence: u64,
    bytes: usize,
    in_flight: usize,
    delayed: usize,
}

/// A message to put in.
pub(super) struct Incoming {
    pub(super) id: Uuid,
    pub(super) content: Content,
    pub(super) sent_at: UnixMillis,
    pub(super) first_received_at: Option<UnixMillis>,
    pub(super) receive_count: u32,
}

impl State {
    pub(super) fn new(fifo: bool) -> Self {
        Self {
            messages: Slab::new(),
            dedup: Dedup::default(),
            totals: Totals::default(),
            order: Order::new(fifo),
            due: BTreeSet::new(),
            expiry: BTreeSet::new(),
            sequence: 0,
            bytes: 0,
            in_flight: 0,
            delayed: 0,
        }
    }

    /// Does what has become due by `now`.
    pub(super) fn advance(&mut self, now: UnixMillis) {
        while let Some((at, slot)) = self.expiry.first().copied()
            && at <= now
        {
            self.expiry.pop_first();
            self.remove(slot);
            self.totals.expired += 1;
        }
        while let Some((at, slot)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            self.show(slot);
        }
    }

    /// When there is next something to do.
    pub(super) fn next_event(&self) -> Option<UnixMillis> {
        let first = |index: &BTreeSet<(UnixMillis, usize)>| index.first().map(|(at, _)| *at);
        [first(&self.due), first(&self.expiry)].into_iter().flatten().min()
    }

    /// Whether a receive would get something.
    pub(super) fn can_deliver(&self, in_flight_limit: usize) -> bool {
        self.order.is_ready() && self.in_flight < in_flight_limit
    }

    /// Whether only the limit of messages in flight keeps receives empty.
    pub(super) fn is_over_limit(&self, in_flight_limit: usize) -> bool {
        self.order.is_ready() && self.in_flight >= in_flight_limit
    }

    /// Puts a message in, visible after `delay`, kept until `expires_at`.
    pub(super) fn insert(
        &mut self,
        incoming: Incoming,
        now: UnixMillis,
        delay: Duration,
        expires_at: UnixMillis,
    ) {
        self.sequence += 1;
        self.bytes += incoming.content.cost();
        self.totals.sent += 1;
        let phase = if delay.is_zero() { Phase::Visible } else { Phase::Delayed };
        let due = now.plus(delay);
        let slot = self.messages.insert(Stored {
            id: incoming.id,
            content: incoming.content,
            sequence: self.sequence,
            sent_at: incoming.sent_at,
            expires_at,
            first_received_at: incoming.first_received_at,
            receive_count: incoming.receive_count,
            receives_here: 0,
            received_at: now,
            phase,
            due,
            lane: NIL,
        });
        self.expiry.insert((expires_at, slot));
        if phase == Phase::Delayed {
            self.delayed += 1;
            self.due.insert((due, slot));
        }
        self.order.added(&mut self.messages, slot, phase);
    }

    /// Takes a message out, in whatever phase it is.
    pub(super) fn remove(&mut self, slot: usize) -> Option<Stored> {
        self.order.removed(&mut self.messages, slot);
        let message = self.messages.remove(slot)?;
        self.expiry.remove(&(message.expires_at, slot));
        self.leave(message.phase, message.due, slot);
        self.bytes -= message.content.cost();
        Some(message)
    }

    /// Receives messages: each is then invisible for `visibility`. Those that
    /// were received `max_receives` times already are taken out instead; they
    /// are the second part of the answer.
    pub(super) fn take(
        &mut self,
        now: UnixMillis,
        mut budget: Budget,
        visibility: Duration,
        max_receives: Option<u32>,
    ) -> (Vec<usize>, Vec<Stored>) {
        let (mut taken, mut received, mut dead) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            self.order.take(&mut self.messages, &mut budget, &mut taken);
            if taken.is_empty() {
                return (received, dead);
            }
            for slot in taken.drain(..) {
                let Some(message) = self.messages.get_mut(slot) else { continue };
                message.phase = Phase::InFlight;
                message.due = now.plus(visibility);
                self.in_flight += 1;
                self.due.insert((message.due, slot));
                if max_receives.is_some_and(|max| message.receives_here >= max) {
                    budget.refund(message.content.size);
                    dead.extend(self.remove(slot));
                    self.totals.dead_lettered += 1;
                    continue;
                }
                message.receives_here += 1;
                message.receive_count = message.receive_count.saturating_add(1);
                message.received_at = now;
                message.first_received_at.get_or_insert(now);
                self.totals.received += 1;
                received.push(slot);
            }
        }
    }

    /// What has become of the receive that this receipt stands for.
    pub(super) fn find(&self, receipt: &Receipt) -> Found {
        match self.messages.get(receipt.slot) {
            Some(message) if message.sequence == receipt.sequence => {
                let newest = message.receives_here == receipt.receive;
                match message.phase {
                    _ if !newest => Found::ReceivedAgain,
                    Phase::InFlight => Found::InFlight(message.received_at),
                    Phase::Visible | Phase::Delayed => Found::VisibleAgain,
                }
            }
            _ => Found::Gone,
        }
    }

    /// Sets when a message in flight becomes visible.
    pub(super) fn set_due(&mut self, slot: usize, due: UnixMillis) {
        if let Some(message) = self.messages.get_mut(slot) {
            self.due.remove(&(message.due, slot));
            message.due = due;
            self.due.insert((due, slot));
        }
    }

    /// Bytes in use of the capacity.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.dedup.bytes()
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            visible: self.messages.len() - self.in_flight - self.delayed,
            in_flight: self.in_flight,
            delayed: self.delayed,
            bytes: self.bytes(),
        }
    }

    fn show(&mut self, slot: usize) {
        let Some(message) = self.messages.get_mut(slot) else { return };
        let before = std::mem::replace(&mut message.phase, Phase::Visible);
        let due = message.due;
        self.leave(before, due, slot);
        self.order.visible(&mut self.messages, slot, before);
    }

    /// Takes a message out of the books of the phase that it leaves.
    fn leave(&mut self, phase: Phase, due: UnixMillis, slot: usize) {
        match phase {
            Phase::Visible => return,
            Phase::Delayed => self.delayed -= 1,
            Phase::InFlight => self.in_flight -= 1,
        }
        self.due.remove(&(due, slot));
    }
}

/// What has become of a receive.
pub(super) enum Found {
    /// The message was deleted, expired, or was moved.
    Gone,
    /// It ran out, and there has been another since.
    ReceivedAgain,
    /// It ran out, and there has been no other.
    VisibleAgain,
    /// It goes on since this time.
    InFlight(UnixMillis),
}

//! When entries have to be looked at again.

use queuebridge_proto::UnixMillis;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Each write adds at most two appointments, so keeping up to four brings a
/// backlog down.
const PER_WRITE: usize = 4;

/// Appointments by time. An entry that moves its appointment leaves the old one
/// behind; whoever keeps one checks that it is still meant.
#[derive(Debug)]
pub(super) struct Agenda<K>(BinaryHeap<Reverse<(UnixMillis, K)>>);

impl<K: Ord> Agenda<K> {
    pub(super) fn new() -> Self {
        Self(BinaryHeap::new())
    }

    pub(super) fn add(&mut self, at: UnixMillis, key: K) {
        self.0.push(Reverse((at, key)));
    }

    /// Hands the next few due appointments to `keep`, which answers when the key
    /// is due again, if it is.
    pub(super) fn sweep(
        &mut self,
        now: UnixMillis,
        mut keep: impl FnMut(UnixMillis, &K) -> Option<UnixMillis>,
    ) {
        for _ in 0..PER_WRITE {
            if self.0.peek().is_none_or(|Reverse((at, _))| *at > now) {
                return;
            }
            let Some(Reverse((at, key))) = self.0.pop() else { return };
            if let Some(again) = keep(at, &key) {
                self.add(again, key);
            }
        }
    }
}

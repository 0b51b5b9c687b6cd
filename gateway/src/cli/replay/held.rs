//! The messages that were seen and stay where they are.

use std::collections::HashMap;

/// SQS has at most about 120,000 messages of a queue in flight; this leaves room
/// for others, and takes some 50 MB.
const MAX: usize = 100_000;

/// The messages that were seen and stay, hidden until the end of the pass so
/// that the others are received.
///
/// A pass that takes long sees them again, because hiding them ends by itself.
/// Then only their receipt is new.
#[derive(Debug)]
pub(super) struct Held {
    /// The newest receipt by message id.
    receipts: HashMap<String, String>,
    /// How many have come back since the last one that was new.
    again: usize,
    max: usize,
}

impl Default for Held {
    fn default() -> Self {
        Self { receipts: HashMap::new(), again: 0, max: MAX }
    }
}

impl Held {
    /// Takes note of a received message; says whether it is a new one.
    pub(super) fn is_new(&mut self, message_id: &str, receipt: &str) -> bool {
        let Some(known) = self.receipts.get_mut(message_id) else {
            self.again = 0;
            return true;
        };
        receipt.clone_into(known);
        self.again += 1;
        false
    }

    /// Keeps a message that stays.
    pub(super) fn keep(&mut self, message_id: String, receipt: String) {
        self.receipts.insert(message_id, receipt);
    }

    /// Whether as many messages have come back in a row as are held: everything
    /// there is was seen.
    pub(super) fn has_all_come_back(&self) -> bool {
        self.again > 0 && self.again >= self.receipts.len()
    }

    /// Whether no more may be hidden from others.
    pub(super) fn is_full(&self) -> bool {
        self.receipts.len() >= self.max
    }

    /// The receipts by which everything is released.
    pub(super) fn into_receipts(self) -> Vec<String> {
        self.receipts.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(ids: &[&str]) -> Held {
        let mut held = Held::default();
        for id in ids {
            assert!(held.is_new(id, "first"));
            held.keep((*id).to_owned(), format!("{id}-first"));
        }
        held
    }

    #[test]
    fn a_message_that_comes_back_is_known_and_released_by_its_newest_receipt() {
        let mut held = held(&["a", "b"]);
        assert!(!held.is_new("a", "a-second"));
        let mut receipts = held.into_receipts();
        receipts.sort();
        assert_eq!(receipts, ["a-second", "b-first"]);
    }

    #[test]
    fn a_pass_is_over_when_all_have_come_back_and_nothing_new_between_them() {
        let mut held = held(&["a", "b"]);
        assert!(!held.has_all_come_back());
        assert!(!held.is_new("a", "r"));
        assert!(!held.has_all_come_back());
        // A new one: somewhere in the queue there may be more.
        assert!(held.is_new("c", "r"));
        assert!(!held.is_new("a", "r") && !held.has_all_come_back());
        assert!(!held.is_new("b", "r") && held.has_all_come_back());
    }

    #[test]
    fn the_window_is_bounded() {
        let mut held = Held { max: 2, ..held(&["a"]) };
        assert!(!held.is_full());
        held.keep("b".into(), "r".into());
        assert!(held.is_full());
        assert!(!Held::default().is_full());
    }
}

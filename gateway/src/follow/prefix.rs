//! What was handed on of a stream: enough to go on with another attempt's messages.

use super::retried;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tonic::Status;

/// The messages that were handed on.
#[derive(Clone, Default)]
pub(super) struct Prefix {
    /// How many.
    count: u64,
    /// Whether another attempt's messages will have to be the same.
    compared: bool,
    /// Their lengths and bytes; `None` if nobody will ask for them, or if they were
    /// handed on by somebody else.
    digest: Option<Sha256>,
    /// How many of them are still to come again.
    again: u64,
    /// Those that have come again.
    seen: Sha256,
}

impl Prefix {
    /// Messages that somebody else has handed on.
    pub(super) fn known(count: u64) -> Self {
        Self { count, again: count, ..Self::default() }
    }

    /// Before the first message: whether those of another attempt may follow.
    pub(super) fn compared(self, compared: bool) -> Self {
        Self { compared, ..self }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether nothing is missing of what was handed on.
    pub(super) fn is_complete(&self) -> bool {
        self.again == 0
    }

    /// Another attempt begins.
    pub(super) fn begin_again(&mut self) {
        self.again = self.count;
        self.seen = Sha256::new();
    }

    /// Whether the message is to be handed on, or was before.
    ///
    /// # Errors
    /// When another attempt does not say the same.
    pub(super) fn hand_on(&mut self, message: &Bytes) -> Result<bool, Status> {
        if self.again == 0 {
            if self.count == 0 && self.compared {
                self.digest = Some(Sha256::new());
            }
            self.count += 1;
            if let Some(digest) = &mut self.digest {
                add(digest, message);
            }
            return Ok(true);
        }
        self.again -= 1;
        if let Some(digest) = &self.digest {
            add(&mut self.seen, message);
            if self.again == 0 && self.seen.clone().finalize() != digest.clone().finalize() {
                return Err(retried());
            }
        }
        Ok(false)
    }
}

fn add(digest: &mut Sha256, message: &Bytes) {
    digest.update((message.len() as u64).to_be_bytes());
    digest.update(message);
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    fn hand_on(prefix: &mut Prefix, messages: &[&'static str]) -> Result<Vec<bool>, Code> {
        let each = messages.iter().map(|text| prefix.hand_on(&Bytes::from_static(text.as_bytes())));
        each.collect::<Result<_, _>>().map_err(|status| status.code())
    }

    #[test]
    fn the_same_messages_are_handed_on_once() {
        let mut prefix = Prefix::default().compared(true);
        assert_eq!(hand_on(&mut prefix, &["a", "b"]), Ok(vec![true, true]));
        prefix.begin_again();
        assert!(!prefix.is_complete());
        assert_eq!(hand_on(&mut prefix, &["a", "b", "c"]), Ok(vec![false, false, true]));
        prefix.begin_again();
        assert_eq!(
            hand_on(&mut prefix, &["a", "b", "c", "d"]),
            Ok(vec![false, false, false, true])
        );
    }

    #[test]
    fn other_messages_are_an_error_and_so_are_other_borders() {
        for other in [["a", "x"], ["ab", ""], ["", "ab"]] {
            let mut prefix = Prefix::default().compared(true);
            assert!(hand_on(&mut prefix, &["a", "b"]).is_ok());
            prefix.begin_again();
            assert_eq!(hand_on(&mut prefix, &other), Err(Code::Aborted), "{other:?}");
        }
    }

    #[test]
    fn what_will_not_be_compared_is_not_digested() {
        let mut prefix = Prefix::default();
        assert_eq!(hand_on(&mut prefix, &["a", "b"]), Ok(vec![true, true]));
        assert!(prefix.digest.is_none());
    }

    #[test]
    fn what_somebody_else_has_handed_on_is_left_out_unseen() {
        let mut prefix = Prefix::known(2);
        assert_eq!(hand_on(&mut prefix, &["x", "y", "z"]), Ok(vec![false, false, true]));
        assert!(prefix.is_complete());
    }
}

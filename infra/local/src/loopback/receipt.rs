//! The handle that one receive of one message is finished with.

use std::{fmt, str::FromStr};

/// Stands for one receive of one message, and only for that: the next receive
/// of the same message gives another handle, and this one is then stale.
///
/// Cheap to copy. Where a string is wanted, `to_string` and `parse` convert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    pub(super) queue: u64,
    pub(super) slot: usize,
    pub(super) sequence: u64,
    pub(super) receive: u32,
}

/// Why a receipt handle is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The text is not a handle, or another queue gave it.
    #[error("ReceiptHandleIsInvalid: not a receipt handle of this queue")]
    Invalid,
    /// FIFO only: the message's visibility has run out, so that the message may
    /// be, or has been, received again. A standard queue answers success.
    #[error("InvalidParameterValue: the receipt handle has expired")]
    Expired,
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}-{:x}-{:x}", self.queue, self.slot, self.sequence, self.receive)
    }
}

impl FromStr for Receipt {
    type Err = ReceiptError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('-').collect();
        let [queue, slot, sequence, receive] = parts[..] else {
            return Err(ReceiptError::Invalid);
        };
        let number = |part| u64::from_str_radix(part, 16).map_err(|_| ReceiptError::Invalid);
        Ok(Self {
            queue: number(queue)?,
            slot: usize::try_from(number(slot)?).map_err(|_| ReceiptError::Invalid)?,
            sequence: number(sequence)?,
            receive: u32::try_from(number(receive)?).map_err(|_| ReceiptError::Invalid)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_survives_as_text_and_nonsense_is_refused() {
        let receipt = Receipt { queue: 3, slot: 500, sequence: u64::MAX, receive: 2 };
        assert_eq!(receipt.to_string().parse(), Ok(receipt));
        for text in ["", "1-2-3", "1-2-3-4-5", "1-2-3-x", "1-2-3-100000000", "AQEBth=="] {
            assert_eq!(text.parse::<Receipt>(), Err(ReceiptError::Invalid), "{text}");
        }
    }
}

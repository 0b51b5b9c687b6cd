//! Finishing a receive: deleting the message, or changing when it comes back.

use super::{
    limits::{self, BatchError, VISIBILITY},
    message::Stored,
    queue::Loopback,
    receipt::{Receipt, ReceiptError},
    receive::EVENT_RECORDS,
    state::{Found, State},
};
use queuebridge_proto::UnixMillis;
use std::time::Duration;

/// Why a visibility timeout was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VisibilityError {
    /// Not a receipt handle of this queue.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// More than 12 hours from now.
    #[error("InvalidParameterValue: a visibility timeout of {0:?} is more than 12 hours")]
    OutOfRange(Duration),
    /// More than 12 hours from the receive. It is not clamped.
    #[error("InvalidParameterValue: more than the 12 hours that the receive may last in all")]
    BeyondMaximum,
    /// The message is visible again, was received again since, or is gone.
    #[error("MessageNotInflight: the receive is over")]
    NotInFlight,
}

impl Loopback {
    /// Deletes the message of this receive. Answers success also when there is
    /// nothing to delete: the message is gone, or, on a standard queue, was
    /// received again since, and then it stays.
    ///
    /// # Errors
    ///
    /// When the receipt is another queue's; on FIFO also when the message's
    /// visibility has run out.
    pub fn delete(&self, receipt: &Receipt) -> Result<(), ReceiptError> {
        let deleted = self.with(|state, _| self.take_out(state, receipt));
        deleted.map(drop)
    }

    /// [`delete`](Self::delete) for 1 to 10 receipts, one answer each.
    ///
    /// # Errors
    ///
    /// When there are none or too many; then nothing was deleted.
    pub fn delete_batch(
        &self,
        receipts: &[Receipt],
    ) -> Result<Vec<Result<(), ReceiptError>>, BatchError> {
        limits::check_entries(receipts.len())?;
        Ok(self.delete_all(receipts))
    }

    /// What an event source does for the messages of one invocation that did
    /// not fail: deletes up to 10,000 under one lock.
    ///
    /// # Errors
    ///
    /// When there are more; then nothing was deleted.
    pub fn finish_batch(
        &self,
        receipts: &[Receipt],
    ) -> Result<Vec<Result<(), ReceiptError>>, BatchError> {
        if receipts.len() > EVENT_RECORDS {
            return Err(BatchError::TooManyEntries(receipts.len()));
        }
        Ok(self.delete_all(receipts))
    }

    /// Lets the message of this receive become visible so long after now: zero
    /// is at once, and in all at most 12 hours after the receive.
    ///
    /// # Errors
    ///
    /// When that is too long, or the receive is over.
    pub fn change_visibility(
        &self,
        receipt: &Receipt,
        timeout: Duration,
    ) -> Result<(), VisibilityError> {
        self.with(|state, now| self.set_visibility(state, now, receipt, timeout))
    }

    /// [`change_visibility`](Self::change_visibility) for 1 to 10 receipts, one
    /// answer each.
    ///
    /// # Errors
    ///
    /// When there are none or too many; then nothing was changed.
    pub fn change_visibility_batch(
        &self,
        changes: &[(Receipt, Duration)],
    ) -> Result<Vec<Result<(), VisibilityError>>, BatchError> {
        limits::check_entries(changes.len())?;
        Ok(self.with(|state, now| {
            let each = changes.iter();
            each.map(|(receipt, timeout)| self.set_visibility(state, now, receipt, *timeout))
                .collect()
        }))
    }

    fn delete_all(&self, receipts: &[Receipt]) -> Vec<Result<(), ReceiptError>> {
        let deleted: Vec<_> = self.with(|state, _| {
            receipts.iter().map(|receipt| self.take_out(state, receipt)).collect()
        });
        // The texts are freed here, after the lock.
        deleted.into_iter().map(|deleted| deleted.map(drop)).collect()
    }

    fn take_out(
        &self,
        state: &mut State,
        receipt: &Receipt,
    ) -> Result<Option<Stored>, ReceiptError> {
        self.check(receipt)?;
        match state.find(receipt) {
            Found::Gone => Ok(None),
            Found::ReceivedAgain | Found::VisibleAgain if self.is_fifo() => {
                Err(ReceiptError::Expired)
            }
            Found::ReceivedAgain => Ok(None),
            Found::VisibleAgain | Found::InFlight(_) => {
                let message = state.remove(receipt.slot);
                state.totals.deleted += u64::from(message.is_some());
                Ok(message)
            }
        }
    }

    fn set_visibility(
        &self,
        state: &mut State,
        now: UnixMillis,
        receipt: &Receipt,
        timeout: Duration,
    ) -> Result<(), VisibilityError> {
        self.check(receipt)?;
        if timeout > VISIBILITY {
            return Err(VisibilityError::OutOfRange(timeout));
        }
        let Found::InFlight(received_at) = state.find(receipt) else {
            return Err(VisibilityError::NotInFlight);
        };
        let due = now.plus(timeout);
        if due > received_at.plus(VISIBILITY) {
            return Err(VisibilityError::BeyondMaximum);
        }
        state.set_due(receipt.slot, due);
        Ok(())
    }

    fn check(&self, receipt: &Receipt) -> Result<(), ReceiptError> {
        if receipt.queue == self.number { Ok(()) } else { Err(ReceiptError::Invalid) }
    }
}

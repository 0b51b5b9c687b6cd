//! What a queue tells about itself.

/// How many messages stand where, now. Unlike SQS's, these numbers are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// To be received; on FIFO also those whose group is blocked
    /// (`ApproximateNumberOfMessages`).
    pub visible: usize,
    /// Received and invisible (`ApproximateNumberOfMessagesNotVisible`).
    pub in_flight: usize,
    /// Not yet visible for the first time (`ApproximateNumberOfMessagesDelayed`).
    pub delayed: usize,
    /// Bytes in use of the queue's capacity: messages and their bookkeeping.
    pub bytes: usize,
}

/// What has happened since the queue was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages taken from senders, topics and other queues' redrive, without
    /// those of `deduplicated`.
    pub sent: u64,
    /// Messages answered as sent because their id had been taken already.
    pub deduplicated: u64,
    /// Receives, so a redelivered message counts again.
    pub received: u64,
    /// Messages deleted.
    pub deleted: u64,
    /// Messages that outlived the retention and vanished.
    pub expired: u64,
    /// Messages moved to the dead-letter queue.
    pub dead_lettered: u64,
}

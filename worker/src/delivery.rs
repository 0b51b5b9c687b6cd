//! One received queue message as plain data.

use std::sync::Arc;

/// What a host hands over. It has no receipt handle: settling is the host's.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The text body.
    pub body: Arc<str>,
    /// How often the message was received, this time included. Receives are no
    /// attempts: throttles and held leases spend them too.
    pub receive_count: u32,
    /// The message group, only when the queue is ordered (FIFO).
    pub fifo_group: Option<String>,
}

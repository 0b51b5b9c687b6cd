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
    /// The queue that it was received from, as the host names it: what a snoozed
    /// job is sent back to.
    pub source: Arc<str>,
    /// The queue's own id of the message.
    pub message_id: Option<String>,
    /// The `AWSTraceHeader` of the message.
    pub trace_header: Option<String>,
    /// It lay in a parking queue before: a person has sent it back.
    pub parked: bool,
    /// The text of the message, where that only points to the body.
    pub pointer: Option<Arc<str>>,
}

impl Delivery {
    /// The first receive of a message with nothing but a body.
    #[must_use]
    pub fn new(body: impl Into<Arc<str>>) -> Self {
        Self {
            body: body.into(),
            receive_count: 1,
            fifo_group: None,
            source: Arc::default(),
            message_id: None,
            trace_header: None,
            parked: false,
            pointer: None,
        }
    }
}

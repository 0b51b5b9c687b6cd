//! Spans around batches and deliveries. What is logged inside carries their
//! fields; where traces are exported, each is a span of the trace, too.
//!
//! They are of level `ERROR`: a line that is logged at all says whose it is.

use super::otel;
use crate::delivery::Delivery;
use crate::job::Job;
use std::sync::Arc;
use tracing::{Span, error_span, field};

/// The span of a batch.
#[derive(Clone, Debug)]
pub(crate) struct BatchSpan {
    pub(super) span: Span,
    pub(super) source: Arc<str>,
    pub(super) kind: Kind,
}

/// What is done with spans besides logging.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kind {
    /// They are exported as a trace.
    pub(crate) traced: bool,
    /// Their host is a function.
    #[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "only traces say so"))]
    pub(crate) faas: bool,
}

impl BatchSpan {
    /// Around these deliveries.
    pub(crate) fn new(kind: Kind, deliveries: &[Delivery]) -> Self {
        let source = deliveries.first().map(|first| first.source.clone()).unwrap_or_default();
        let queue = queue_name(&source);
        let span = if kind.traced {
            let name = format!("process {queue}");
            error_span!("batch", queue, otel.name = name, otel.kind = "consumer")
        } else {
            error_span!("batch", queue)
        };
        let batch = Self { span, source, kind };
        if kind.traced {
            otel::batch(&batch, deliveries.len());
        }
        batch
    }

    /// The name of its queue.
    pub(super) fn queue(&self) -> &str {
        queue_name(&self.source)
    }

    /// Around one of the deliveries; `job` is what it was opened to.
    pub(crate) fn delivery(&self, delivery: &Delivery, job: Option<&Job<'_>>) -> Span {
        let _entered = self.span.enter();
        let id = delivery.message_id.as_deref();
        let span = match (job, self.kind.traced) {
            (Some(Job { id, method, .. }), false) => {
                error_span!("job", job = %id, %method, attempt = field::Empty)
            }
            (Some(Job { id, method, .. }), true) => {
                let name = format!("process {}", self.queue());
                error_span!(
                    "job", job = %id, %method, attempt = field::Empty,
                    otel.name = name, otel.kind = "consumer"
                )
            }
            (None, false) => error_span!("message", id),
            (None, true) => {
                let name = format!("process {}", self.queue());
                error_span!("message", id, otel.name = name, otel.kind = "consumer")
            }
        };
        if self.kind.traced {
            otel::delivery(&span, self, delivery, job);
        }
        span
    }
}

/// The name of a queue: hosts say its ARN or its URL.
pub(crate) fn queue_name(source: &str) -> &str {
    source.rsplit(['/', ':']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_has_the_same_name_by_its_arn_and_by_its_url() {
        assert_eq!(queue_name("arn:aws:sqs:eu-west-1:123456789012:orders.fifo"), "orders.fifo");
        assert_eq!(queue_name("https://sqs.eu-west-1.amazonaws.com/123/orders"), "orders");
        assert_eq!(queue_name(""), "");
    }
}

//! Traces by OpenTelemetry.
//!
//! A job is a call of one caller to one handler, so the span of its message is a
//! child of the context in which it was submitted: one trace leads from the
//! caller through the queue into the handler, and the caller's sampling decision
//! holds. The span links to that context, too, as the messaging conventions ask
//! of every consumer, and to the span of its batch. The batch, in which many
//! traces meet, is a trace of its own that links to every message's context.
//! A message without a context is a child of its batch.
//!
//! Names are those of the semantic conventions: messaging, SQS, FaaS and RPC.

mod export;
mod exporter;
mod http;

pub use export::Traces;
pub use exporter::TracesError;

use super::context::created;
use super::span::BatchSpan;
use crate::delivery::Delivery;
use crate::job::Job;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanContext, Status, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use queuebridge_proto::codes::code_name;
use queuebridge_proto::v1::TraceContext;
use tonic::Code;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Describes the span of a batch of `count` messages.
pub(super) fn batch(batch: &BatchSpan, count: usize) {
    process(&batch.span, batch);
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    batch.span.set_attribute("messaging.batch.message_count", count);
}

/// Puts the span of a message into its trace.
pub(super) fn delivery(span: &Span, batch: &BatchSpan, delivery: &Delivery, job: Option<&Job<'_>>) {
    let envelope = job.and_then(|job| job.call.trace.as_ref());
    if let Some(context) = created(envelope, delivery.trace_header.as_deref()) {
        let context = remote(&context);
        let creation = context.span().span_context().clone();
        // It was created just now and not entered yet: its parent can be set.
        let _ = span.set_parent(context);
        span.add_link(creation.clone());
        span.add_link(batch.span.context().span().span_context().clone());
        let id = delivery.message_id.clone();
        let id = id.map(|id| KeyValue::new("messaging.message.id", id));
        batch.span.add_link_with_attributes(creation, id.into_iter().collect());
    }
    process(span, batch);
    if let Some(id) = &delivery.message_id {
        span.set_attribute("messaging.message.id", id.clone());
    }
    if let Some(Job { id, method, .. }) = job {
        span.set_attribute("queuebridge.job.id", id.to_string());
        span.set_attribute("rpc.system.name", "grpc");
        span.set_attribute("rpc.method", method.as_str().trim_start_matches('/').to_owned());
    }
}

fn process(span: &Span, batch: &BatchSpan) {
    span.set_attribute("messaging.system", "aws_sqs");
    span.set_attribute("messaging.destination.name", batch.queue().to_owned());
    span.set_attribute("messaging.operation.name", "process");
    span.set_attribute("messaging.operation.type", "process");
    if batch.kind.faas {
        span.set_attribute("faas.trigger", "pubsub");
    }
}

/// The claim was granted for this attempt.
pub(super) fn attempt(span: &Span, attempt: u32) {
    span.set_attribute("queuebridge.job.attempt", i64::from(attempt));
}

/// The handler has ended. Codes are errors as they are for a gRPC server: those
/// that are not the caller's doing.
pub(super) fn ended(span: &Span, answer: Option<Code>) {
    use Code::{DataLoss, DeadlineExceeded, Internal, Unavailable, Unimplemented, Unknown};
    let failure = match answer {
        Some(code) => {
            span.set_attribute("rpc.response.status_code", code_name(code));
            matches!(
                code,
                Unknown | DeadlineExceeded | Unimplemented | Internal | Unavailable | DataLoss
            )
            .then(|| code_name(code))
        }
        None => Some("UNANSWERED"),
    };
    if let Some(failure) = failure {
        span.set_attribute("error.type", failure);
        span.set_status(Status::error(""));
    }
}

/// The context of a span, to be handed on: what continues it is its child.
pub(super) fn outgoing(span: &Span) -> Option<TraceContext> {
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| TraceContext {
        traceparent: traceparent(&context),
        tracestate: context.trace_state().header(),
    })
}

fn traceparent(context: &SpanContext) -> String {
    let flags = u8::from(context.is_sampled());
    format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id())
}

fn remote(context: &TraceContext) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(context))
}

struct Headers<'a>(&'a TraceContext);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(&self.0.traceparent),
            "tracestate" => Some(&self.0.tracestate),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

#[cfg(test)]
mod tests;

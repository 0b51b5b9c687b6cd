use super::*;
use crate::batch;
use crate::outbox::NoOutbox;
use crate::runner::{Runner, RunnerSettings};
use crate::telemetry::Telemetry;
use opentelemetry::trace::{SpanId, SpanKind, TraceId};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use queuebridge_proto::job_id::Claims;
use queuebridge_proto::v1::{Call, Guarantee};
use queuebridge_proto::{JobId, Keyring, UnixMillis, envelope};
use queuebridge_store::Clock;
use queuebridge_store::memory::MemoryResultStore;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tonic::service::Routes;
use tracing_subscriber::layer::SubscriberExt;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const METHOD: &str = "/a.B/C";
const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-5bf92f3577b34da6a3ce929d0e0e4736-10f067aa0ba902b7-00";
const XRAY: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

fn keys() -> Keyring {
    Keyring::single(&[1; 32])
}

fn message(traceparent: Option<&str>) -> Delivery {
    let claims = Claims {
        uuid: uuid::Uuid::now_v7(),
        tenant: "t",
        method: METHOD,
        expires_at: NOW.plus(Duration::from_secs(60)),
        retention: Duration::from_secs(60),
        at_least_once: true,
        reply_shard: None,
    };
    let call = Call {
        job_id: JobId::mint(&claims, &keys()).to_string(),
        method: METHOD.into(),
        tenant: "t".into(),
        guarantee: Guarantee::AtLeastOnce as i32,
        trace: traceparent
            .map(|text| TraceContext { traceparent: text.into(), tracestate: "a=b".into() }),
        ..Call::default()
    };
    Delivery {
        source: "arn:aws:sqs:eu-west-1:123456789012:jobs".into(),
        message_id: Some("m-1".into()),
        ..Delivery::new(envelope::seal(&call, &keys()))
    }
}

/// Runs a batch on a worker without any service, and returns the spans that have
/// ended when its verdicts are there.
async fn spans(deliveries: Vec<Delivery>) -> Vec<SpanData> {
    let kept = Kept::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
    let traces = Traces::of(provider);
    let subscriber = tracing_subscriber::registry().with(traces.layer());
    let telemetry = Telemetry { traces: Some(traces), faas: true, ..Telemetry::default() };
    let settings = RunnerSettings { telemetry, ..RunnerSettings::default() };
    let store = Arc::new(MemoryResultStore::new(Duration::from_secs(60)));
    let (outbox, clock) = (Arc::new(NoOutbox), Clock::simulated(NOW));
    let routes = Routes::default();
    let runner = Runner::new(routes, store, None, outbox, keys(), clock, settings);
    let _guard = tracing::subscriber::set_default(subscriber);
    let verdicts = batch::run(&runner, deliveries, None, &Default::default()).await;
    assert!(!verdicts.is_empty());
    std::mem::take(&mut kept.0.lock().unwrap())
}

fn is_batch(span: &SpanData) -> bool {
    attribute(span, "messaging.batch.message_count").is_some()
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
    found.map(|attribute| attribute.value.to_string())
}

fn ids(traceparent: &str) -> (TraceId, SpanId) {
    let trace = TraceId::from_hex(&traceparent[3..35]).unwrap();
    (trace, SpanId::from_hex(&traceparent[36..52]).unwrap())
}

fn links(span: &SpanData) -> Vec<(TraceId, SpanId)> {
    let of = |context: &SpanContext| (context.trace_id(), context.span_id());
    span.links.iter().map(|link| of(&link.span_context)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_message_continues_its_callers_trace_and_its_batch_links_to_it() {
    let spans = spans(vec![message(Some(CALLER))]).await;
    let [message, batch] = &*spans else { panic!("{spans:?}") };
    assert!(is_batch(batch) && !is_batch(message));
    let caller = ids(CALLER);
    let of_batch = (batch.span_context.trace_id(), batch.span_context.span_id());
    assert_eq!((message.span_context.trace_id(), message.parent_span_id), caller);
    assert!(message.parent_span_is_remote);
    assert_eq!(message.span_context.trace_state().header(), "a=b");
    assert_eq!(links(message), [caller, of_batch]);
    assert_eq!(links(batch), [caller]);
    assert_eq!(batch.links[0].attributes, [KeyValue::new("messaging.message.id", "m-1")]);
    assert_eq!(batch.parent_span_id, SpanId::INVALID);
    for span in [message, batch] {
        assert_eq!((&*span.name, &span.span_kind), ("process jobs", &SpanKind::Consumer));
        for (name, value) in [
            ("messaging.system", "aws_sqs"),
            ("messaging.destination.name", "jobs"),
            ("messaging.operation.name", "process"),
            ("messaging.operation.type", "process"),
            ("faas.trigger", "pubsub"),
        ] {
            assert_eq!(attribute(span, name).as_deref(), Some(value), "{name}");
        }
    }
    assert_eq!(attribute(batch, "messaging.batch.message_count").as_deref(), Some("1"));
    for (name, value) in [
        ("messaging.message.id", "m-1"),
        ("queuebridge.job.attempt", "1"),
        ("rpc.system.name", "grpc"),
        ("rpc.method", "a.B/C"),
        ("rpc.response.status_code", "UNIMPLEMENTED"),
        ("error.type", "UNIMPLEMENTED"),
    ] {
        assert_eq!(attribute(message, name).as_deref(), Some(value), "{name}");
    }
    assert!(matches!(message.status, Status::Error { .. }));
    assert!(attribute(message, "queuebridge.job.id").is_some());
}

#[tokio::test(start_paused = true)]
async fn what_the_caller_does_not_sample_is_not_exported_but_linked() {
    let spans = spans(vec![message(Some(UNSAMPLED)), message(Some(CALLER))]).await;
    assert_eq!(spans.len(), 2, "{spans:?}");
    let batch = spans.iter().find(|span| is_batch(span)).unwrap();
    assert_eq!(links(batch), [ids(UNSAMPLED), ids(CALLER)]);
}

#[tokio::test(start_paused = true)]
async fn the_header_counts_where_the_envelope_says_nothing() {
    let xray = Delivery { trace_header: Some(XRAY.into()), ..message(None) };
    let spans = spans(vec![xray]).await;
    let message = spans.iter().find(|span| !is_batch(span)).unwrap();
    let parent = ids("00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01");
    assert_eq!((message.span_context.trace_id(), message.parent_span_id), parent);
}

#[tokio::test(start_paused = true)]
async fn a_message_without_a_trace_is_a_child_of_its_batch() {
    let broken = Delivery { source: "jobs".into(), ..Delivery::new("not ours") };
    let spans = spans(vec![message(None), broken]).await;
    let batch = spans.iter().find(|span| is_batch(span)).unwrap();
    assert!(links(batch).is_empty());
    let messages: Vec<_> = spans.iter().filter(|span| !is_batch(span)).collect();
    assert_eq!(messages.len(), 2);
    for message in messages {
        assert_eq!(message.parent_span_id, batch.span_context.span_id());
        assert_eq!(message.span_context.trace_id(), batch.span_context.trace_id());
    }
}

#[tokio::test]
async fn a_handlers_calls_continue_the_span_of_their_message() {
    let kept = Kept::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
    let traces = Traces::of(provider);
    let _guard =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(traces.layer()));
    let span = tracing::error_span!("job");
    let _ = span
        .set_parent(remote(&TraceContext { traceparent: CALLER.into(), tracestate: "a=b".into() }));
    let outgoing = outgoing(&span).unwrap();
    drop(span);
    let spans = kept.0.lock().unwrap();
    let (trace, parent) = ids(&outgoing.traceparent);
    assert_eq!(trace, ids(CALLER).0);
    assert_eq!(parent, spans[0].span_context.span_id());
    assert_eq!((&outgoing.traceparent[53..], &*outgoing.tracestate), ("01", "a=b"));
    assert!(super::outgoing(&Span::none()).is_none());
}

//! The trace that a message belongs to.

use queuebridge_proto::traceparent::{Traceparent, is_hex, is_id};
use queuebridge_proto::v1::TraceContext;
use std::borrow::Cow;

/// The W3C context in which a message was created. The envelope says it, and is
/// sealed; the `AWSTraceHeader` of the message, which anything on the way may
/// replace, counts only where the envelope says nothing.
pub(crate) fn created<'a>(
    envelope: Option<&'a TraceContext>,
    header: Option<&str>,
) -> Option<Cow<'a, TraceContext>> {
    match envelope.filter(|context| Traceparent::parse(&context.traceparent).is_some()) {
        Some(context) => Some(Cow::Borrowed(context)),
        None => header.and_then(from_xray).map(Cow::Owned),
    }
}

/// Reads `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`.
/// A sampling decision that is still open counts as no.
fn from_xray(header: &str) -> Option<TraceContext> {
    let field = |name: &str| {
        header.split(';').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
    };
    let mut root = field("Root")?.split('-');
    let (version, epoch, random) = (root.next()?, root.next()?, root.next()?);
    let (trace, parent) = (format!("{epoch}{random}"), field("Parent")?);
    let valid = version == "1" && is_hex(epoch, 8) && is_id(&trace, 32) && is_id(parent, 16);
    let flags = if field("Sampled") == Some("1") { "01" } else { "00" };
    let traceparent = format!("00-{trace}-{parent}-{flags}");
    valid.then(|| TraceContext { traceparent, tracestate: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn w3c(traceparent: &str) -> TraceContext {
        TraceContext { traceparent: traceparent.into(), tracestate: "a=b".into() }
    }

    #[test]
    fn the_envelope_counts_before_the_header() {
        let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let from_header = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01";
        let envelope = w3c(TRACEPARENT);
        assert_eq!(created(Some(&envelope), Some(header)).as_deref(), Some(&envelope));
        for envelope in [None, Some(&w3c("nonsense"))] {
            let created = created(envelope, Some(header)).unwrap();
            assert_eq!((&*created.traceparent, &*created.tracestate), (from_header, ""));
        }
        assert_eq!(created(None, None), None);
    }

    #[test]
    fn an_xray_header_is_read_in_any_order_and_refused_when_incomplete() {
        let sampled = |header: &str| from_xray(header).map(|context| context.traceparent);
        let ids = "Parent=53995c3f42cd8ad8; Root=1-5759e988-bd862e3fe1be46a994272793";
        let expected = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8";
        assert_eq!(sampled(ids), Some(format!("{expected}-00")));
        let deferred = format!("Lineage=1:2:3;{ids};Sampled=?");
        assert_eq!(sampled(&deferred), Some(format!("{expected}-00")));
        assert_eq!(sampled(&format!("Sampled=1;{ids}")), Some(format!("{expected}-01")));
        for wrong in [
            "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1",
            "Root=1-5759e988;Parent=53995c3f42cd8ad8",
            "Root=2-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8",
            "Root=1-5759e98-bd862e3fe1be46a9942727933;Parent=53995c3f42cd8ad8",
        ] {
            assert_eq!(sampled(wrong), None, "{wrong}");
        }
    }
}

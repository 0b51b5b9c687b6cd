//! The trace that a message belongs to.

use queuebridge_proto::v1::TraceContext;
use std::borrow::Cow;

/// The W3C context in which a message was created. The envelope says it, and is
/// sealed; the `AWSTraceHeader` of the message, which anything on the way may
/// replace, counts only where the envelope says nothing.
pub(crate) fn created<'a>(
    envelope: Option<&'a TraceContext>,
    header: Option<&str>,
) -> Option<Cow<'a, TraceContext>> {
    match envelope.filter(|context| is_traceparent(&context.traceparent)) {
        Some(context) => Some(Cow::Borrowed(context)),
        None => header.and_then(from_xray).map(Cow::Owned),
    }
}

/// Whether a `traceparent` can be continued, by W3C Trace Context: version 00
/// has four fields, later ones may have more.
fn is_traceparent(text: &str) -> bool {
    let mut fields = text.split('-');
    let (Some(version), Some(trace), Some(parent), Some(flags)) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return false;
    };
    is_hex(version, 2)
        && version != "ff"
        && (version != "00" || fields.next().is_none())
        && is_id(trace, 32)
        && is_id(parent, 16)
        && is_hex(flags, 2)
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

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// An id of zeros is none.
fn is_id(text: &str, len: usize) -> bool {
    is_hex(text, len) && text.bytes().any(|b| b != b'0')
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
    fn what_cannot_be_continued_is_no_context() {
        assert!(is_traceparent(TRACEPARENT));
        assert!(is_traceparent(&TRACEPARENT.replacen("00", "01", 1)));
        assert!(is_traceparent(&format!("01{}-more", &TRACEPARENT[2..])));
        let zero_trace = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        for wrong in [
            "",
            "00-1-2-01",
            &TRACEPARENT[..54],
            &TRACEPARENT.to_uppercase(),
            &format!("{TRACEPARENT}-more"),
            &TRACEPARENT.replacen("00", "ff", 1),
            &zero_trace,
        ] {
            assert!(!is_traceparent(wrong), "{wrong}");
        }
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

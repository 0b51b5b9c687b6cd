//! Calling a tonic service in this process, without a socket.

use bytes::Bytes;
use queuebridge_proto::MethodName;
use queuebridge_proto::metadata::to_metadata_map;
use queuebridge_proto::raw::RawCodec;
use queuebridge_proto::traceparent::Traceparent;
use queuebridge_proto::v1::{Metadatum, Outcome, TraceContext};
use std::time::Duration;
use tonic::client::Grpc;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::service::Routes;
use tonic::{Code, Request, Status, Streaming};

use crate::context::JobContext;
use crate::next::Next;
use crate::parting::Parting;
use crate::requests::Requests;

/// The headers of W3C Trace Context.
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Calls the services of a worker.
#[derive(Clone)]
pub(crate) struct Dispatcher(Routes);

/// What came of a call: the outcome, and what retries are decided on.
pub(crate) struct Answer {
    pub(crate) code: Code,
    pub(crate) next: Option<Next>,
    pub(crate) outcome: Outcome,
}

impl Dispatcher {
    pub(crate) fn new(routes: Routes) -> Self {
        Self(routes.prepare())
    }

    /// Calls `method`. `deadline`, which stands in the handler's `grpc-timeout`, is what is
    /// left of the time that the caller has set; nothing on this way enforces it. Answers
    /// with the initial metadata and what follows.
    pub(crate) async fn call(
        &self,
        method: &MethodName,
        requests: Requests,
        metadata: &[Metadatum],
        deadline: Option<Duration>,
        context: JobContext,
    ) -> Result<(MetadataMap, Streaming<Bytes>), Status> {
        let breaks = requests.breaks();
        let mut request = Request::new(requests);
        *request.metadata_mut() = to_metadata_map(metadata);
        if let Some(deadline) = deadline {
            request.set_timeout(deadline);
        }
        if let Some(trace) = &context.trace {
            hand_on(trace, request.metadata_mut());
        }
        request.extensions_mut().insert(context);
        let path = http::uri::PathAndQuery::try_from(method.as_str())
            .map_err(|_| Status::unimplemented("not a method"))?;
        // The answer's size is judged where it is stored, with a precise reason.
        let services = Parting { services: self.0.clone(), breaks };
        let mut grpc = Grpc::new(services).max_decoding_message_size(usize::MAX);
        // The streaming call keeps initial and trailing metadata apart; the unary
        // one would merge them.
        let response = grpc.streaming(request, path, RawCodec).await?;
        let (metadata, stream, _) = response.into_parts();
        Ok((metadata, stream))
    }
}

/// Tells the handler the trace that it is a part of. A caller who has put another trace
/// into the job's metadata meant that one, if it is one: what cannot be continued counts as
/// absent, by W3C Trace Context.
fn hand_on(trace: &TraceContext, metadata: &mut MetadataMap) {
    let id = |text| Traceparent::parse(text).map(|parsed| parsed.trace_id);
    let mut given = metadata.get_all(TRACEPARENT).iter();
    let (first, more) = (given.next().and_then(|given| given.to_str().ok()), given.next());
    let given = first.and_then(id).filter(|_| more.is_none());
    if given.is_some_and(|given| Some(given) != id(&trace.traceparent)) {
        return;
    }
    let values = [(TRACEPARENT, &trace.traceparent), (TRACESTATE, &trace.tracestate)];
    for (name, value) in values {
        metadata.remove(name);
        if let (false, Ok(value)) = (value.is_empty(), MetadataValue::try_from(value)) {
            metadata.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn handed_on(given: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let mut metadata = MetadataMap::new();
        for (name, value) in given {
            metadata.append(*name, value.parse().unwrap());
        }
        let trace = TraceContext { traceparent: OURS.into(), tracestate: String::new() };
        hand_on(&trace, &mut metadata);
        let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
        metadata
            .into_headers()
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect()
    }

    #[test]
    fn a_handler_is_told_its_trace_unless_the_caller_named_another() {
        let ours = [("traceparent".to_owned(), OURS.to_owned())];
        assert_eq!(handed_on(&[]), ours);
        let same = "00-4bf92f3577b34da6a3ce929d0e0e4736-1111111111111111-01";
        assert_eq!(handed_on(&[("traceparent", same), ("tracestate", "a=b")]), ours);
        let other = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-1111111111111111-01";
        assert_eq!(handed_on(&[("traceparent", other)])[0].1, other);
        let later = "01-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-1111111111111111-01-more";
        assert_eq!(handed_on(&[("traceparent", later)])[0].1, later);
    }

    #[test]
    fn a_traceparent_that_cannot_be_continued_counts_as_absent() {
        let ours = [("traceparent".to_owned(), OURS.to_owned())];
        for invalid in [
            "nonsense",
            "",
            "ff-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-1111111111111111-01",
            "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-1111111111111111-01-more",
            "00-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-1111111111111111-01",
            "00-00000000000000000000000000000000-1111111111111111-01",
            "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-0000000000000000-01",
        ] {
            assert_eq!(handed_on(&[("traceparent", invalid), ("tracestate", "a=b")]), ours);
        }
        let twice = [
            ("traceparent", "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-1111111111111111-01"),
            ("traceparent", "00-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-1111111111111111-01"),
        ];
        assert_eq!(handed_on(&twice), ours);
    }
}

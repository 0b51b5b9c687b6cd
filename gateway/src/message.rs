//! A call as a queue message: body, attributes, group, trace.

use crate::publish::{Limits, Message, PublishError};
use queuebridge_proto::envelope::attribute::{self, BRANCHES, JOB, METHOD, VERSION};
use queuebridge_proto::traceparent::Traceparent;
use queuebridge_proto::v1::{Call, TraceContext};
use queuebridge_proto::{JobId, envelope};
use queuebridge_store::Seal;
use queuebridge_store::encryption::KeyError;

/// How large the message of a call will be, without making it.
#[must_use]
pub fn size_of(call: &Call) -> usize {
    let attribute =
        |name: &str, value: usize| name.len() + attribute::data_type(name).len() + value;
    envelope::sealed_len(prost::Message::encoded_len(call))
        + attribute(VERSION, 1)
        + attribute(METHOD, call.method.len())
        + attribute(JOB, call.job_id.len())
        + branches_of(call)
            .map_or(0, |names| BRANCHES.len() + attribute::data_type(BRANCHES).len() + names.len())
}

/// The names of the branches of a message for several, as a topic's filter policies read
/// them.
fn branches_of(call: &Call) -> Option<String> {
    let addressees = &call.membership.as_ref()?.addressees;
    let names = addressees.iter().map(|addressee| addressee.branch.as_str());
    (!addressees.is_empty()).then(|| serde_json::Value::from_iter(names).to_string())
}

/// Seals a call into a message.
///
/// # Errors
/// When there is no key to encrypt it with.
pub async fn of(
    call: Call,
    id: &JobId,
    delay_seconds: u16,
    limits: Limits,
    seal: &Seal,
) -> Result<Message, PublishError> {
    let group_id = match (limits.fifo, call.ordering_key.is_empty()) {
        (true, false) => format!("{}:{}", call.tenant, call.ordering_key),
        // Without a key a job waits for no other.
        (true, true) => id.uuid().to_string(),
        // On standard queues the group is the tenant, for fair queues.
        (false, _) => call.tenant.clone(),
    };
    let number = call.publish_number;
    let deduplication_id = limits.fifo.then(|| format!("{}.{number}", id.uuid()));
    let branches = branches_of(&call).map(|names| (BRANCHES, names));
    let body = seal.seal(&call).await.map_err(no_key)?;
    let trace_header = call.trace.as_ref().and_then(xray_header);
    let mut attributes =
        vec![(VERSION, envelope::MAJOR.to_string()), (METHOD, call.method), (JOB, call.job_id)];
    attributes.extend(branches);
    Ok(Message {
        body,
        trace_header,
        attributes,
        delay_seconds,
        group_id: Some(group_id),
        deduplication_id,
    })
}

/// Nothing was sent, and it may be tried again.
pub(crate) fn no_key(error: KeyError) -> PublishError {
    PublishError::Retryable(error.to_string())
}

/// The `AWSTraceHeader` of a W3C trace context, which is how a trace crosses SQS
/// for tools that read only that.
fn xray_header(trace: &TraceContext) -> Option<String> {
    let Traceparent { trace_id, parent_id, sampled } = Traceparent::parse(&trace.traceparent)?;
    let (epoch, random) = trace_id.split_at(8);
    let sampled = u8::from(sampled);
    Some(format!("Root=1-{epoch}-{random};Parent={parent_id};Sampled={sampled}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use queuebridge_proto::job_id::Claims;
    use queuebridge_proto::v1::call::Payload;
    use queuebridge_proto::{Keyring, UnixMillis};
    use std::time::Duration;

    async fn message(fifo: bool, ordering_key: &str, len: usize) -> (Message, usize, JobId) {
        let keys = Keyring::single(&[1; 32]);
        let claims = Claims {
            uuid: uuid::Uuid::now_v7(),
            tenant: "t",
            method: "/a.B/C",
            expires_at: UnixMillis(1),
            retention: Duration::from_secs(1),
            at_least_once: false,
            reply_shard: None,
        };
        let id = JobId::mint(&claims, &keys);
        let call = Call {
            job_id: id.to_string(),
            method: "/a.B/C".into(),
            tenant: "t".into(),
            payload: Some(Payload::Request(vec![1; len].into())),
            publish_number: 1,
            ordering_key: ordering_key.into(),
            trace: Some(TraceContext {
                traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
                tracestate: String::new(),
            }),
            ..Call::default()
        };
        let size = size_of(&call);
        let limits = Limits {
            batch_entries: 10,
            batch_bytes: 1 << 20,
            message_bytes: 1 << 20,
            fifo,
            concurrency: 1,
        };
        (of(call, &id, 0, limits, &keys.into()).await.unwrap(), size, id)
    }

    #[tokio::test]
    async fn a_message_that_can_be_compressed_is_smaller() {
        let (message, size, _) = message(false, "", 100_000).await;
        assert!(message.size() * 10 < size);
    }

    #[tokio::test]
    async fn the_size_is_known_before_the_message_is_made() {
        for len in [0, 1, 100, 500] {
            let (message, size, _) = message(false, "", len).await;
            assert!(message.size() <= size && size < message.size() + 64, "{len}");
        }
    }

    #[tokio::test]
    async fn groups_are_orders_on_fifo_and_tenants_elsewhere() {
        let (standard, _, _) = message(false, "", 1).await;
        assert_eq!(standard.group_id.as_deref(), Some("t"));
        assert_eq!(standard.deduplication_id, None);
        let (ordered, _, id) = message(true, "k", 1).await;
        assert_eq!(ordered.group_id.as_deref(), Some("t:k"));
        assert_eq!(ordered.deduplication_id, Some(format!("{}.1", id.uuid())));
        let (alone, _, id) = message(true, "", 1).await;
        assert_eq!(alone.group_id, Some(id.uuid().to_string()));
    }

    #[tokio::test]
    async fn the_trace_crosses_as_an_xray_header() {
        let (message, _, _) = message(false, "", 1).await;
        let expected = "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=1";
        assert_eq!(message.trace_header.as_deref(), Some(expected));
        let nonsense = TraceContext { traceparent: "00-zz-1-1".into(), tracestate: String::new() };
        assert_eq!(xray_header(&nonsense), None);
        let no_trace = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let no_trace = TraceContext { traceparent: no_trace, tracestate: String::new() };
        assert_eq!(xray_header(&no_trace), None);
    }
}

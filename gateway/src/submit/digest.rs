//! The digest of a submission: what makes it the same as another one.
//!
//! It stands for all that the caller has said of the work, and only for what the caller has
//! said: a default of the route may change meanwhile. The same request id, the same call
//! within `attach_within` and a resubmit token lead to a job only with the digest of the
//! submission that has made it. Expiry, retention and `wait` say for how long somebody is
//! interested, and are no part of it.

use super::plain_digest;
use crate::submission::{Given, Submission};
use prost::Message;
use queuebridge_proto::v1::Metadatum;
use queuebridge_proto::v1::metadatum::Value;
use queuebridge_store::Accepted;
use sha2::{Digest, Sha256};

const DOMAIN: &[u8] = b"queuebridge.v1.Submission";

/// Metadata that names one hop or one attempt, and differs between a call and its retry.
/// Proxies and tracing libraries add it, and no handler answers differently because of it.
/// What is listed neither here nor in the route's `ignored_metadata` counts. That is so on
/// purpose for what tells users apart, which begins with the same letters:
/// `x-forwarded-user`, `x-amzn-oidc-identity`. `grpc-previous-rpc-attempts` and its like
/// never become metadata.
const OF_ONE_ATTEMPT: &[&str] = &[
    // Trace contexts: W3C, X-Ray, Zipkin, Google, Jaeger, Datadog, OpenTracing, Sentry,
    // New Relic, Elastic, Instana, Dynatrace.
    "b3",
    "baggage",
    "elastic-apm-traceparent",
    "newrelic",
    "sentry-trace",
    "traceparent",
    "tracestate",
    "uber-trace-id",
    "x-amzn-trace-id",
    "x-b3-flags",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-spanid",
    "x-b3-traceid",
    "x-client-trace-id",
    "x-cloud-trace-context",
    "x-datadog-origin",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "x-datadog-tags",
    "x-datadog-trace-id",
    "x-dynatrace",
    "x-instana-l",
    "x-instana-s",
    "x-instana-t",
    "x-ot-span-context",
    // One HTTP request, as proxies number it: Envoy, nginx, API Gateway, CloudFront,
    // Cloudflare.
    "cf-ray",
    "x-amz-cf-id",
    "x-amzn-request-id",
    "x-amzn-requestid",
    "x-request-id",
    // The way that it took: load balancers, Envoy.
    "cdn-loop",
    "forwarded",
    "via",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-external-address",
    "x-envoy-internal",
    "x-envoy-original-host",
    "x-envoy-original-path",
    "x-envoy-peer-metadata",
    "x-envoy-peer-metadata-id",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-ms",
    "x-forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-path",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-real-ip",
];

/// The digest of a submission.
pub(crate) fn digest(job: &Submission) -> [u8; 32] {
    let Given { callback, gather, branches } = &job.given;
    let mut parts = Parts(Sha256::new_with_prefix(DOMAIN));
    parts.add(job.method.as_str().as_bytes());
    parts.add(&[u8::from(job.shape.stream)]);
    parts.add(&job.request_sha256());
    parts.add(job.ordering_key.as_bytes());
    parts.add_metadata(&job.metadata, &job.route.config.calls.ignored_metadata);
    parts.add_message(callback.as_ref());
    parts.add(&job.delay_seconds.to_be_bytes());
    parts.add_message(gather.as_ref());
    // They are a set.
    let mut branches: Vec<&[u8]> = branches.iter().map(String::as_bytes).collect();
    branches.sort_unstable();
    branches.dedup();
    parts.add_count(branches.len());
    branches.into_iter().for_each(|branch| parts.add(branch));
    parts.add(job.retry_of.map(|id| id.to_string()).unwrap_or_default().as_bytes());
    parts.0.finalize().into()
}

/// Whether what stands under a request id is this submission, whose digest is `digest`.
pub(super) fn is_same(accepted: &Accepted, job: &Submission, digest: &[u8; 32]) -> bool {
    match accepted {
        Accepted::New => true,
        // Recorded by an earlier version, which has compared less.
        Accepted::Existing { digest: known, owner: None, .. } => {
            *known == plain_digest(job.method.as_str(), &job.request)
        }
        Accepted::Existing { digest: known, .. } => known == digest,
    }
}

/// A digest of parts, each behind its length: no two lists of parts are the same bytes.
struct Parts(Sha256);

impl Parts {
    fn add(&mut self, part: &[u8]) {
        self.add_count(part.len());
        self.0.update(part);
    }

    fn add_count(&mut self, count: usize) {
        self.0.update((count as u64).to_be_bytes());
    }

    fn add_message(&mut self, message: Option<&impl Message>) {
        self.add(&[u8::from(message.is_some())]);
        self.add(&message.map(Message::encode_to_vec).unwrap_or_default());
    }

    /// Values of one key keep their order; that of the keys says nothing.
    fn add_metadata(&mut self, entries: &[Metadatum], ignored: &[String]) {
        let counts = |entry: &&Metadatum| {
            !OF_ONE_ATTEMPT.contains(&entry.key.as_str()) && !ignored.contains(&entry.key)
        };
        let mut entries: Vec<&Metadatum> = entries.iter().filter(counts).collect();
        entries.sort_by(|one, other| one.key.cmp(&other.key));
        self.add_count(entries.len());
        for entry in entries {
            self.add(entry.key.as_bytes());
            match &entry.value {
                Some(Value::Ascii(text)) => self.add(text.as_bytes()),
                Some(Value::Binary(bytes)) => self.add(bytes),
                None => self.add(&[]),
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Messages for queues that take less than the one from which they come: the request
//! goes to the payload store.

use crate::job::Job;
use queuebridge_proto::v1::Call;
use queuebridge_proto::v1::call::Payload;
use queuebridge_store::payload;
use std::sync::Arc;

/// The body of the job's message with its request in the payload store. None where there
/// is no such store, or the request lies there already, or it cannot be put there.
pub(crate) async fn lighter(job: &Job<'_>) -> Option<Arc<str>> {
    lighter_of(job, job.call.clone()).await
}

/// The body of another message of this job.
pub(crate) async fn lighter_of(job: &Job<'_>, mut call: Call) -> Option<Arc<str>> {
    let payloads = job.runner.payloads.as_ref()?;
    let Some(Payload::Request(request)) = call.payload else { return None };
    // The branches of a gather share the request, and what deletes the gather deletes it.
    let group = call.membership.as_ref().is_some_and(|of| of.group);
    let owner = job.gather.as_ref().filter(|_| !group).unwrap_or(&job.id);
    let stored = payload::put_request(payloads.as_ref(), &call.tenant, owner, request).await;
    let stored = stored.inspect_err(|error| {
        tracing::warn!(job = %job.id, %error, "a request could not be stored");
    });
    call.payload = Some(Payload::RequestRef(stored.ok()?));
    let body = job.runner.seal.seal(&call).await.inspect_err(|error| {
        tracing::warn!(job = %job.id, %error, "a message could not be encrypted");
    });
    Some(body.ok()?.into())
}

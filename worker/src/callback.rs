//! Callbacks of finished jobs: put into their queue before the job's message is
//! acknowledged. Who makes the calls is another worker, so that a slow receiver never
//! holds a batch.

use crate::job::Job;
use crate::outbox::Outgoing;
use crate::park;
use crate::runner::random;
use crate::verdict::{Reason, Verdict, backoff};
use queuebridge_proto::v1::CallbackMessage;
use queuebridge_proto::v1::callback_message::Kind;
use std::time::Duration;

/// Between two tries to reach the callback queue.
const BACKOFF: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_secs(120);

/// The job is stored as finished: whoever wants to know will be told. The message may
/// be acknowledged only if that is certain; its redelivery finds the job finished and
/// repeats this, and not the job.
pub(crate) async fn enqueue(job: &Job<'_>) -> Verdict {
    enqueue_of(job, &job.call.job_id, job.method.as_str()).await
}

/// As [`enqueue`], for the job of this id, which is the job, or the gather that it
/// belongs to.
pub(crate) async fn enqueue_of(job: &Job<'_>, job_id: &str, method: &str) -> Verdict {
    let Some(callback) = &job.call.callback else { return Verdict::Ack };
    let message = CallbackMessage {
        kind: Kind::Deliver as i32,
        job_id: job_id.to_owned(),
        method: method.to_owned(),
        tenant: job.call.tenant.clone(),
        callback: Some(callback.clone()),
        reply_shard: job.call.reply_shard.clone(),
        ..CallbackMessage::default()
    };
    let body = match job.runner.seal.seal(&message).await {
        Ok(body) => body.into(),
        Err(error) => {
            tracing::error!(job = %job.id, %error, "a callback could not be encrypted");
            return Verdict::redeliver(BACKOFF, Reason::KeyUnavailable);
        }
    };
    let message = Outgoing {
        body,
        attributes: park::routing(method, job_id),
        group_id: message.tenant,
        trace_header: job.delivery.trace_header.clone(),
    };
    match job.runner.outbox.call_back(message).await {
        Ok(()) => Verdict::Ack,
        Err(error) => {
            tracing::error!(job = %job.id, %error, "a callback was not enqueued");
            let receives = job.delivery.receive_count;
            let after = backoff(receives, BACKOFF, BACKOFF_MAX, random());
            Verdict::redeliver(after, Reason::CallbackUnavailable)
        }
    }
}

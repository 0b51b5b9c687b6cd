//! `Jobs.ReadStream`: the messages of a streamed answer, for whoever has the job's id.

use crate::follow::{Follow, Step};
use crate::jobs::JobsService;
use crate::lookup::{Found, purged};
use crate::oversize::{is_too_large, too_large_answer as too_large, too_large_message};
use crate::reading::Reading;
use crate::waiter::Interest;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use queuebridge_proto::error;
use queuebridge_proto::v1::ReadStreamResponse;
use queuebridge_proto::v1::job::Outcome;
use queuebridge_store::Token;
use tonic::Status;

/// The messages from number `from` on, of the attempt that gave those before, if it is
/// named.
pub(crate) async fn messages(
    jobs: &JobsService,
    job: Reading,
    from: u64,
    attempt: &[u8],
) -> Result<BoxStream<'static, Result<ReadStreamResponse, Status>>, Status> {
    let attempt = match attempt {
        [] => None,
        bytes => Some(Token::from_bytes(bytes.try_into().map_err(|_| {
            error::invalid_field("attempt", "not an attempt of a streamed answer")
        })?)),
    };
    let place = jobs.waiter().subscribe(job.id(), Interest::Stream);
    let found = jobs.lookup().find(job.id()).await?;
    let follow = Follow::new(jobs.shared_lookup(), job, place).from(from, attempt).found(found)?;
    let reading = Some((follow, from));
    let messages = stream::unfold(reading, async |reading| {
        let (mut follow, number) = reading?;
        match follow.step().await {
            Ok(Step::Message(message))
                if is_too_large(&message, follow.lookup().max_message_bytes) =>
            {
                Some((Err(too_large_message(follow.id(), message.len())), None))
            }
            Ok(Step::Message(message)) => {
                let attempt =
                    follow.attempt().map(|token| Bytes::copy_from_slice(token.as_bytes()));
                let attempt = attempt.unwrap_or_default();
                let response = ReadStreamResponse { number, message, attempt };
                Some((Ok(response), Some((follow, number + 1))))
            }
            Ok(Step::End(found)) if matches!(*found, Found::Purged) => Some((Err(purged()), None)),
            // A stream of one message, whose end came with it.
            Ok(Step::End(found)) if number == 0 => Some((single(&follow, &found).await?, None)),
            Ok(Step::End(_) | Step::Late) => None,
            Err(status) => Some((Err(status), None)),
        }
    });
    Ok(messages.boxed())
}

/// The answer of a job that has given one message and no stream.
async fn single(follow: &Follow, found: &Found) -> Option<Result<ReadStreamResponse, Status>> {
    let job = match follow.lookup().show(follow.job(), found.clone()).await {
        Ok(job) => job,
        Err(status) => return Some(Err(status)),
    };
    match job.outcome {
        Some(Outcome::Response(_)) if job.stream.is_some() => None,
        Some(Outcome::Response(answer)) if answer.size == answer.message.len() as u64 => {
            let message = answer.message;
            Some(Ok(ReadStreamResponse { number: 0, message, attempt: Bytes::new() }))
        }
        Some(Outcome::Response(answer)) => Some(Err(too_large(follow.id(), answer.size))),
        _ => None,
    }
}

//! The answer to a direct call: what the handler has said.

use super::later::Later;
use super::{Follow, Found, Guard, Step, Ticket, refusal};
use crate::jobs::JobsService;
use crate::oversize::{self, too_large_answer};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use queuebridge_proto::JobId;
use queuebridge_proto::metadata::{self, to_metadata_map};
use queuebridge_proto::outcome::from_rpc_status;
use queuebridge_proto::v1::job::Outcome;
use queuebridge_proto::v1::{Job, Metadatum};
use std::sync::Arc;
use tonic::metadata::MetadataMap;
use tonic::{Code, Response, Status};

/// The messages of an answer, and its end.
pub(super) type Answers = BoxStream<'static, Result<Bytes, Status>>;

/// An error of less is sent as it is, however its bytes are written.
const LARGE: usize = 2 * 1024;

/// What a finished job has come to.
struct Ended {
    initial: MetadataMap,
    /// The one message, unless the answer was a stream.
    message: Option<Bytes>,
    /// Trailing metadata, or an error.
    end: Result<MetadataMap, Status>,
}

/// An answer that is on its way.
pub(super) struct Answer {
    pub(super) jobs: JobsService,
    pub(super) follow: Follow,
    /// Cancels the job if the caller goes away.
    pub(super) guard: Option<Guard>,
    /// What the caller still sends.
    pub(super) later: Option<Later>,
    /// What the caller gets when its time is over, if not just that.
    pub(super) ticket: Option<Ticket>,
    pub(super) over: bool,
}

impl Answer {
    /// The answer as soon as its headers are known.
    pub(super) async fn begin(mut self) -> Result<Response<Answers>, Status> {
        match self.step().await? {
            Step::Message(first) => {
                let initial = to_metadata_map(&self.follow.take_initial());
                // Boxed: it is moved with every message.
                let rest = stream::unfold(Box::new(self), async |mut answer| {
                    let next = answer.next().await?;
                    Some((next, answer))
                });
                let all = stream::iter([Ok(first)]).chain(rest).boxed();
                Ok(with(initial, all))
            }
            Step::End(found) => {
                self.finish();
                let Ended { initial, message, end } = self.ended(found).await?;
                let end = match end {
                    // Nothing but an end is one block of headers, as the handler has sent it.
                    Err(status) if initial.is_empty() => return Err(status),
                    Err(status) => Some(Err(status)),
                    // Tonic sends the metadata of a status, also of one that is OK.
                    Ok(trailing) => (!trailing.is_empty()).then(|| Err(ok(trailing))),
                };
                let message = message.into_iter().map(Ok);
                Ok(with(initial, stream::iter(message.chain(end)).boxed()))
            }
            Step::Late => Err(self.unanswered(refusal::too_late())),
        }
    }

    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        if self.over {
            return None;
        }
        let next = match self.step().await {
            Ok(Step::Message(message)) => return Some(Ok(message)),
            Ok(Step::End(found)) => {
                self.finish();
                match self.ended(found).await.and_then(|ended| ended.end) {
                    Ok(trailing) => ok(trailing),
                    Err(status) => status,
                }
            }
            Ok(Step::Late) => self.unanswered(refusal::too_late()),
            Err(status) => status,
        };
        self.over = true;
        Some(Err(next))
    }

    async fn step(&mut self) -> Result<Step, Status> {
        let Self { jobs, follow, later, .. } = self;
        let failed = async {
            match later {
                Some(later) => later.failed().await,
                None => std::future::pending().await,
            }
        };
        let step = tokio::select! {
            biased;
            // Before the end of the job, which follows from it.
            status = failed => return Err(status),
            step = follow.step() => step?,
            () = jobs.closing().cancelled() => {
                return Err(self.unanswered(refusal::draining()));
            }
        };
        let most = self.jobs.lookup().max_message_bytes;
        match step {
            // The messages before it pass; tonic's encoder would refuse it without a reason.
            Step::Message(message) if oversize::is_too_large(&message, most) => {
                Err(oversize::too_large_message(self.follow.id(), message.len()))
            }
            step => Ok(step),
        }
    }

    /// What the finished job has come to.
    async fn ended(&self, found: Arc<Found>) -> Result<Ended, Status> {
        let id = self.follow.id();
        let job = self.jobs.lookup().show(self.follow.job(), Found::clone(&found)).await?;
        let Job { initial_metadata, trailing_metadata, outcome, stream, .. } = job;
        let mut end = Ok(to_metadata_map(&trailing_metadata));
        let mut message = None;
        match outcome {
            Some(Outcome::Error(status)) => end = Err(failed(id, &status, &trailing_metadata)),
            Some(Outcome::Response(_)) if stream.is_some() => {}
            Some(Outcome::Response(answer)) if answer.size == answer.message.len() as u64 => {
                message = Some(answer.message);
            }
            Some(Outcome::Response(answer)) => end = Err(too_large_answer(id, answer.size)),
            None => return Err(Status::internal("a finished job without an outcome")),
        }
        Ok(Ended { initial: to_metadata_map(&initial_metadata), message, end })
    }

    /// The wait is over. Either the work goes on, or nobody wants it any more, and it is
    /// cancelled with the rest of this.
    fn unanswered(&mut self, otherwise: Status) -> Status {
        // Without its caller half of a request stays half of one.
        let whole = self.later.as_ref().is_none_or(Later::is_whole);
        match self.ticket.take().filter(|_| whole) {
            Some(ticket) => {
                if let Some(guard) = self.guard.take() {
                    guard.done();
                }
                refusal::ticket(self.follow.id(), &ticket.method)
            }
            None => otherwise,
        }
    }

    /// The job is over: there is nothing to cancel any more.
    fn finish(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.done();
        }
        if let Some(later) = self.later.take() {
            later.finish();
        }
    }
}

/// The answer of one who does not wait.
pub(super) fn accepted(ticket: &Ticket) -> Response<Answers> {
    let mut metadata = MetadataMap::new();
    refusal::name(&mut metadata, &ticket.id);
    with(metadata, stream::iter([Ok(Bytes::new())]).boxed())
}

fn with(initial: MetadataMap, answers: Answers) -> Response<Answers> {
    let mut response = Response::new(answers);
    *response.metadata_mut() = initial;
    response
}

fn ok(trailing: MetadataMap) -> Status {
    Status::with_metadata(Code::Ok, "", trailing)
}

/// The handler's error. A caller that may be sent only a part of it is told where the whole
/// is.
fn failed(id: &JobId, status: &tonic_types::Status, trailing: &[Metadatum]) -> Status {
    let mut status = from_rpc_status(status);
    *status.metadata_mut() = to_metadata_map(trailing);
    let size = status.message().len() + status.details().len() + metadata::size(trailing);
    if size > LARGE {
        refusal::name(status.metadata_mut(), id);
    }
    status
}

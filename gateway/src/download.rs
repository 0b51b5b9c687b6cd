//! Answers in pieces, of any size: nothing is held here but the piece that is on its
//! way to a reader.

use crate::leaving::CallRoom;
use crate::lookup::{Found, Lookup, not_finished, purged};
use crate::reading::Reading;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use prost::Message;
use queuebridge_proto::JobId;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::gather::LIST_TYPE;
use queuebridge_proto::v1::{DownloadInfo, DownloadResultResponse, outcome};
use queuebridge_store::{PayloadError, PayloadStream, Record};
use sha2::{Digest, Sha256};
use std::future::ready;
use std::sync::Arc;
use tonic::{Code, Status};

/// The largest piece: it keeps to the flow control of a connection with default
/// settings, and costs little around it.
const PIECE: usize = 256 * 1024;

/// The answer of a job from `offset` on: first what it is, then its bytes. Fails as
/// the contract of `Jobs.DownloadResult` has it.
pub(crate) async fn pieces(
    lookup: Arc<Lookup>,
    job: Reading,
    offset: u64,
) -> Result<BoxStream<'static, Result<DownloadResultResponse, Status>>, Status> {
    let id = *job.id();
    let mut record = finished(&lookup, &id).await?;
    let room = job.room();
    let own = record.outcome.as_ref().map_or(0, Message::encoded_len);
    if !room.try_take(own) {
        // Whoever waits for room holds nothing of what it is for.
        drop(record);
        room.take(own).await?;
        record = finished(&lookup, &id).await?;
    }
    let list = record.outcome.as_ref().is_some_and(|of| of.response_type == LIST_TYPE);
    let record = if list { lookup.listed(&job, record) } else { record };
    let outcome = record.outcome.unwrap_or_default();
    let (size, sha256, chunks) = match outcome.result {
        Some(outcome::Result::Response(message)) => {
            let sha256 = Bytes::copy_from_slice(&Sha256::digest(&message));
            let size = message.len() as u64;
            check(offset, size)?;
            let rest = message.slice(usize::try_from(offset).unwrap_or(message.len())..);
            let pieces = cut(stream::once(ready(Ok(rest))).boxed());
            // What it takes leaves with it, piece by piece.
            (size, sha256, pieces.boxed())
        }
        Some(outcome::Result::ResponseRef(at)) => {
            check(offset, at.size)?;
            let chunks = match lookup.payloads()?.open(&at, offset).await {
                Ok(chunks) => chunks,
                Err(error) => return Err(lookup.lost(&id, &error).await),
            };
            room.give_back(own);
            (at.size, at.sha256, within(job.room().clone(), chunks).boxed())
        }
        Some(outcome::Result::Error(_)) | None => {
            let message = "the job ended without an answer; GetResult says how";
            return Err(error::status(Code::FailedPrecondition, reason::NO_RESPONSE, message));
        }
    };
    let info = DownloadInfo { size, sha256, r#type: outcome.response_type };
    let first = DownloadResultResponse { info: Some(info), chunk: Bytes::new() };
    let rest = chunks.then(move |chunk| {
        let lookup = lookup.clone();
        async move {
            match chunk {
                Ok(chunk) => Ok(DownloadResultResponse { info: None, chunk }),
                Err(Broken::Full(status)) => Err(status),
                Err(Broken::Lost(error)) => Err(lookup.lost(&id, &error).await),
            }
        }
    });
    Ok(stream::once(ready(Ok(first))).chain(rest).boxed())
}

/// Why there is no further piece.
enum Broken {
    Full(Status),
    Lost(PayloadError),
}

async fn finished(lookup: &Lookup, id: &JobId) -> Result<Record, Status> {
    match lookup.find(id).await? {
        Found::Finished(record) => Ok(record),
        Found::Purged => Err(purged()),
        Found::Pending | Found::Underway(_) | Found::Gathering(_) => Err(not_finished()),
    }
}

fn check(offset: u64, size: u64) -> Result<(), Status> {
    if offset <= size {
        return Ok(());
    }
    Err(error::invalid_field("offset", format!("the answer has {size} bytes")))
}

/// The same bytes in pieces that are not too large.
fn cut(chunks: PayloadStream) -> impl Stream<Item = Result<Bytes, Broken>> + Send {
    stream::unfold((chunks, Bytes::new()), |(mut chunks, mut left)| async move {
        while left.is_empty() {
            match chunks.next().await? {
                Ok(bytes) => left = bytes,
                Err(error) => return Some((Err(Broken::Lost(error)), (chunks, left))),
            }
        }
        let piece = left.split_to(left.len().min(PIECE));
        Some((Ok(piece), (chunks, left)))
    })
}

/// The same, each as soon as there is room for it.
fn within(
    room: CallRoom,
    chunks: PayloadStream,
) -> impl Stream<Item = Result<Bytes, Broken>> + Send {
    let pieces = Box::pin(cut(chunks));
    stream::unfold((room, pieces), |(room, mut pieces)| async move {
        if let Err(status) = room.take_next(PIECE).await {
            return Some((Err(Broken::Full(status)), (room, pieces)));
        }
        let piece = pieces.next().await?;
        let bytes = piece.as_ref().map_or(0, Bytes::len);
        room.give_back(PIECE - bytes);
        Some((piece, (room, pieces)))
    })
}

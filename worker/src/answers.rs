//! From what a handler answers to what is stored of it: one message in the outcome, or
//! several in the stream store, which are there for the caller before the handler ends.

use crate::announce;
use crate::dispatch::Answer;
use crate::job::Job;
use crate::next;
use crate::runner::random;
use crate::verdict::backoff;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::FutureExt;
use prost::Message;
use queuebridge_proto::UnixMillis;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::metadata::from_metadata_map;
use queuebridge_proto::outcome;
use queuebridge_proto::v1::{Outcome, StreamChunk, StreamedAnswer};
use queuebridge_store::{Author, Lane, StoreError, Token, payload, stream};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::sleep;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status, Streaming};

/// A chunk is closed at this size: what DynamoDB reads in 16 units.
const CHUNK: usize = 64 * 1024;
/// Messages of this size are not worth a further copy.
const SMALL: usize = 1024;
/// How often a chunk is offered to its store.
const TRIES: u32 = 4;
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Between two looks how far a slow reader is.
const LOOK: Duration = Duration::from_millis(5);
const LOOK_MAX: Duration = Duration::from_millis(200);
/// A reader that has not been heard of for so long is gone, and is not waited for until
/// it is heard of again. Readers are heard of every twenty seconds while they are slow.
const GONE: Duration = Duration::from_secs(70);

/// Takes in what a handler answers.
pub(crate) async fn collect(
    job: &Job<'_>,
    initial: MetadataMap,
    mut answers: Streaming<Bytes>,
) -> Answer {
    let first = match answers.message().await {
        Ok(Some(message)) => message,
        // Without a message it is an answer of a stream only; its caller knows.
        Ok(None) if job.takes_stream() => {
            let trailing = answers.trailers().await.map(Option::unwrap_or_default);
            return Writer::new(job, initial).ended(trailing);
        }
        Ok(None) => {
            return failed(Status::internal("the handler ended without an answer"), &initial);
        }
        Err(status) => return failed(status, &initial),
    };
    // A handler of one message has its end at hand: whatever has not is a stream.
    let second = match answers.message().now_or_never() {
        Some(Ok(None)) => {
            return match answers.trailers().await {
                Ok(trailing) => {
                    let trailing = trailing.unwrap_or_default();
                    let outcome = outcome::success(first, &initial, &trailing);
                    Answer { code: Code::Ok, next: None, outcome }
                }
                Err(status) => failed(status, &initial),
            };
        }
        Some(Ok(second)) => second,
        Some(Err(status)) if !job.takes_stream() => return failed(status, &initial),
        Some(Err(status)) => {
            let mut writer = Writer::new(job, initial);
            let stored = writer.store(vec![first]).await;
            return writer.ended(stored.and(Err(status)));
        }
        None => None,
    };
    if !job.takes_stream() {
        let message = "a stream of answers needs a route that is claimed and has no branches";
        let status = error::status(Code::Unimplemented, reason::NO_STREAM, message);
        return failed(status, &initial);
    }
    let mut writer = Writer::new(job, initial);
    let first = [first].into_iter().chain(second).collect();
    let ended = writer.relay(first, &mut answers).await;
    writer.ended(ended)
}

pub(crate) fn failed(mut status: Status, initial: &MetadataMap) -> Answer {
    let next = next::take(status.metadata_mut());
    let outcome = outcome::failure(&status, initial);
    Answer { code: status.code(), next, outcome }
}

/// Writes the answer of one attempt.
struct Writer<'a> {
    job: &'a Job<'a>,
    initial: MetadataMap,
    answer: StreamedAnswer,
    /// The weight of all messages.
    weight: usize,
    /// The weights of the chunks that their reader has not taken yet.
    ahead: VecDeque<usize>,
    /// When the reader that is gone was last heard of, once it is.
    gone: Option<u64>,
}

impl<'a> Writer<'a> {
    fn new(job: &'a Job<'a>, initial: MetadataMap) -> Self {
        let attempt = Bytes::copy_from_slice(token(job).as_bytes());
        let answer = StreamedAnswer { attempt, ..StreamedAnswer::default() };
        Self { job, initial, answer, weight: 0, ahead: VecDeque::new(), gone: None }
    }

    /// Stores the messages as they come. While a chunk is on its way, those that come go
    /// into the next one.
    async fn relay(
        &mut self,
        first: Vec<Bytes>,
        answers: &mut Streaming<Bytes>,
    ) -> Result<MetadataMap, Status> {
        let mut ready = Ready { weight: weight_of(&first), messages: first, end: None };
        loop {
            ready.take_what_is_there(answers);
            if ready.messages.is_empty() {
                match ready.end.take() {
                    Some(Ok(())) => return Ok(answers.trailers().await?.unwrap_or_default()),
                    Some(Err(status)) => return Err(status),
                    None => ready.push(answers.message().await),
                }
                continue;
            }
            let messages = std::mem::take(&mut ready.messages);
            ready.weight = 0;
            let mut stored = std::pin::pin!(self.store(messages));
            loop {
                tokio::select! {
                    biased;
                    stored = &mut stored => break stored?,
                    message = answers.message(), if ready.wants_more() => ready.push(message),
                }
            }
        }
    }

    /// Stores the next chunk.
    async fn store(&mut self, mut messages: Vec<Bytes>) -> Result<(), Status> {
        let job = self.job;
        let (count, weight) = (messages.len(), weight_of(&messages));
        let size: usize = messages.iter().map(Bytes::len).sum();
        put_together(&mut messages, size);
        self.weight += weight;
        if self.weight > job.runner.settings.max_response_bytes {
            let message = format!("the answer of over {} bytes is too large", self.weight);
            return Err(error::status(
                Code::ResourceExhausted,
                reason::RESPONSE_TOO_LARGE,
                message,
            ));
        }
        self.make_room().await;
        let number = self.answer.chunks;
        let initial_metadata =
            if number == 0 { from_metadata_map(&self.initial) } else { Vec::new() };
        let chunk = StreamChunk { messages, initial_metadata, ..StreamChunk::default() };
        let chunk = self.placed(chunk, number).await?;
        let lane = Lane::Answer(token(job));
        for attempt in 1.. {
            let now = job.now();
            let stored = job.runner.streams.append(&job.id, lane, number, chunk.clone(), now);
            match stored.await {
                Ok(()) => break,
                Err(error) if attempt >= TRIES => return Err(unstored(&error)),
                Err(_) => sleep(backoff(attempt, BACKOFF, BACKOFF_MAX, random())).await,
            }
        }
        self.answer.chunks += 1;
        self.answer.messages += count as u64;
        self.answer.size += size as u64;
        self.ahead.push_back(weight);
        if number == 0 {
            announce::streaming(job, token(job)).await;
        }
        Ok(())
    }

    /// Puts what no record can hold into the payload store.
    async fn placed(&mut self, chunk: StreamChunk, number: u32) -> Result<StreamChunk, Status> {
        let runner = self.job.runner;
        if chunk.encoded_len() <= runner.settings.record_bytes {
            return Ok(chunk);
        }
        let Some(payloads) = &runner.payloads else {
            let message = "a message of the stream is larger than may be stored";
            return Err(error::status(
                Code::ResourceExhausted,
                reason::RESPONSE_TOO_LARGE,
                message,
            ));
        };
        let part = format!("{}-{number}", token(self.job));
        let key = payload::answer_key(&self.job.call.tenant, &self.job.id, &part);
        self.answer.stored.push(number);
        let mut attempt = 1;
        loop {
            match stream::placed(chunk.clone(), payloads, &key).await {
                Ok(placed) => return Ok(placed),
                Err(error) if attempt >= TRIES => return Err(unstored(&error)),
                Err(_) => sleep(backoff(attempt, BACKOFF, BACKOFF_MAX, random())).await,
            }
            attempt += 1;
        }
    }

    /// Waits until there is not too much ahead of whoever reads along.
    async fn make_room(&mut self) {
        let window = self.job.call.stream_window as usize;
        let mut pause = LOOK;
        let begun = self.job.now();
        while window > 0 && self.ahead.iter().sum::<usize>() >= window {
            let lane = Lane::Answer(token(self.job));
            let mark = self.job.runner.streams.marked(&self.job.id, lane).await;
            // Not to know it is no reason to fail: it is asked again.
            let mark = mark.unwrap_or_else(|error| {
                tracing::warn!(job = %self.job.id, %error, "the reader of a stream was not found");
                None
            });
            let mark = mark.unwrap_or_default();
            // The first chunk that is still ahead of the reader.
            let first = self.answer.chunks as usize - self.ahead.len();
            let taken = (mark.taken as usize).saturating_sub(first).min(self.ahead.len());
            self.ahead.drain(..taken);
            if taken == 0 {
                if self.gone == Some(mark.seen_at) {
                    self.ahead.clear();
                    return;
                }
                let heard = begun.max(UnixMillis(mark.seen_at));
                if heard.until(self.job.now()) > GONE {
                    tracing::warn!(job = %self.job.id, "nobody reads a stream any more");
                    self.gone = Some(mark.seen_at);
                    self.ahead.clear();
                    return;
                }
                sleep(pause).await;
                pause = (pause * 2).min(LOOK_MAX);
            }
        }
    }

    /// What the job has come to.
    fn ended(self, ended: Result<MetadataMap, Status>) -> Answer {
        let mut answer = match ended {
            Ok(trailing) => {
                let outcome = outcome::success(Bytes::new(), &self.initial, &trailing);
                Answer { code: Code::Ok, next: None, outcome }
            }
            Err(status) => failed(status, &self.initial),
        };
        answer.outcome = Outcome { stream: Some(Box::new(self.answer)), ..answer.outcome };
        answer
    }
}

/// Messages that are waiting for their chunk.
struct Ready {
    messages: Vec<Bytes>,
    weight: usize,
    /// How the handler has ended, once it has.
    end: Option<Result<(), Status>>,
}

impl Ready {
    fn wants_more(&self) -> bool {
        self.end.is_none() && self.weight < CHUNK
    }

    fn push(&mut self, next: Result<Option<Bytes>, Status>) {
        match next {
            Ok(Some(message)) => {
                self.weight += stream::weight(&message);
                self.messages.push(message);
            }
            Ok(None) => self.end = Some(Ok(())),
            Err(status) => self.end = Some(Err(status)),
        }
    }

    fn take_what_is_there(&mut self, answers: &mut Streaming<Bytes>) {
        while self.wants_more() {
            match answers.message().now_or_never() {
                Some(next) => self.push(next),
                None => return,
            }
        }
    }
}

/// Small messages share one piece of memory: each by itself takes several times its size
/// for as long as a store in memory keeps it.
fn put_together(messages: &mut [Bytes], size: usize) {
    if size > messages.len() * SMALL {
        return;
    }
    let mut all = BytesMut::with_capacity(size);
    messages.iter().for_each(|message| all.put_slice(message));
    let mut all = all.freeze();
    for message in messages {
        *message = all.split_to(message.len());
    }
}

fn weight_of(messages: &[Bytes]) -> usize {
    messages.iter().map(stream::weight).sum()
}

/// [`Job::takes_stream`] says that there is one.
fn token(job: &Job<'_>) -> Token {
    match job.author {
        Author::Claim(token) => token,
        Author::Unclaimed | Author::Expiry => Token::from_bytes([0; 16]),
    }
}

fn unstored(error: &StoreError) -> Status {
    tracing::warn!(%error, "a part of an answer could not be stored");
    let message = "a part of the answer could not be stored";
    error::status(Code::Unavailable, reason::STORE_UNAVAILABLE, message)
}

//! Following a job to its end, with the messages of a streamed answer on the way.
//!
//! Messages are handed on in their order, each once, and all from one attempt: when the
//! job is tried again after some were handed on, the stream ends with `ABORTED`, unless
//! its route says that every attempt gives the same messages, and then that is checked.

mod heartbeat;
mod prefix;
mod reader;

pub(crate) use reader::Reader;

use crate::lookup::{Found, Lookup};
use crate::reading::Reading;
use crate::waiter::{Event, Place};
use bytes::Bytes;
use prefix::Prefix;
use queuebridge_proto::JobId;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::v1::{Metadatum, Outcome, StreamedAnswer, job, outcome};
use queuebridge_store::Token;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tonic::{Code, Status};

/// The most bytes of a streamed answer that a worker may be ahead of its reader.
pub(crate) const WINDOW: u32 = 1024 * 1024;
/// How long a chunk is waited for before anything else is looked at.
const WAIT: Duration = Duration::from_secs(60);
/// How long a chunk that must be there is waited for.
const THERE: Duration = Duration::from_secs(5);

/// What comes next.
#[derive(Debug)]
pub(crate) enum Step {
    /// A message of a streamed answer.
    Message(Bytes),
    /// The job is finished, and all of its messages were handed on.
    End(Arc<Found>),
    /// Nothing came in time.
    Late,
}

/// One who follows.
pub(crate) struct Follow {
    lookup: Arc<Lookup>,
    job: Reading,
    place: Place,
    /// Until when something to come is waited for.
    until: Option<Instant>,
    /// When it is too late for everything, also for what is there.
    deadline: Option<Instant>,
    deterministic: bool,
    /// Whom the messages are from, once there are some.
    reader: Option<Reader>,
    prefix: Prefix,
    waiting: VecDeque<Bytes>,
    initial: Vec<Metadatum>,
    ended: Option<Arc<Found>>,
    /// Another attempt was said to be under way.
    unsure: bool,
}

impl Follow {
    pub(crate) fn new(lookup: Arc<Lookup>, job: Reading, place: Place) -> Self {
        Self {
            lookup,
            job,
            place,
            until: None,
            deadline: None,
            deterministic: false,
            reader: None,
            prefix: Prefix::default(),
            waiting: VecDeque::new(),
            initial: Vec::new(),
            ended: None,
            unsure: false,
        }
    }

    pub(crate) fn until(mut self, until: Option<Instant>) -> Self {
        self.until = until;
        self
    }

    pub(crate) fn deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    pub(crate) fn deterministic(mut self, deterministic: bool) -> Self {
        self.deterministic = deterministic;
        self.prefix = self.prefix.compared(deterministic);
        self
    }

    /// Leaves out the first messages, which were handed on before, from `attempt`.
    pub(crate) fn from(mut self, number: u64, attempt: Option<Token>) -> Self {
        self.prefix = Prefix::known(number);
        self.reader = attempt.map(|attempt| self.read(attempt));
        self
    }

    /// What is known of the job already.
    pub(crate) fn found(mut self, found: Found) -> Result<Self, Status> {
        self.take(Arc::new(found))?;
        Ok(self)
    }

    pub(crate) fn id(&self) -> &JobId {
        self.job.id()
    }

    pub(crate) fn job(&self) -> &Reading {
        &self.job
    }

    pub(crate) fn lookup(&self) -> &Lookup {
        &self.lookup
    }

    /// The attempt whose messages are handed on.
    pub(crate) fn attempt(&self) -> Option<Token> {
        self.reader.as_ref().map(|reader| reader.attempt)
    }

    /// The initial metadata of a streamed answer, once its first message was handed on.
    pub(crate) fn take_initial(&mut self) -> Vec<Metadatum> {
        std::mem::take(&mut self.initial)
    }

    /// What comes next. It may be dropped and asked again.
    ///
    /// # Errors
    /// `ABORTED`/`STREAM_RETRIED`, `DATA_LOSS`/`PAYLOAD_LOST`, `UNAVAILABLE`.
    pub(crate) async fn step(&mut self) -> Result<Step, Status> {
        loop {
            // Also where there is always something to read.
            if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(Step::Late);
            }
            while let Some(message) = self.waiting.pop_front() {
                if self.prefix.hand_on(&message)? {
                    return Ok(Step::Message(message));
                }
            }
            if let Some(ended) = self.ended.clone()
                && self.is_read(&ended).await?
            {
                return Ok(Step::End(ended));
            }
            if self.unsure && self.ended.is_none() {
                // What cannot be asked now is found out by whoever polls.
                if let Ok(found) = self.lookup.find(self.job.id()).await {
                    self.take(Arc::new(found))?;
                }
                self.unsure = false;
                continue;
            }
            let (ended, until, deadline) = (self.ended.is_some(), self.until, self.deadline);
            let wait = if ended { THERE } else { WAIT };
            let chunk = async {
                match &mut self.reader {
                    Some(reader) => reader.read(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // What is there first, so that a busy stream is not held up.
                biased;
                chunk = chunk => match chunk? {
                    Some(chunk) => {
                        if !chunk.initial_metadata.is_empty() {
                            self.initial = chunk.initial_metadata;
                        }
                        self.waiting.extend(chunk.messages);
                    }
                    None if ended => return Err(lost()),
                    None => {}
                },
                event = self.place.event(until), if !ended => match event {
                    Some(event) => self.hear(event)?,
                    None => return Ok(Step::Late),
                },
                () = late(deadline), if ended => return Ok(Step::Late),
            }
        }
    }

    /// What is heard may be late, or come a second time: before the messages of one
    /// attempt are left for those of another, that is looked at.
    fn hear(&mut self, event: Event) -> Result<(), Status> {
        let said = match &event {
            Event::Streaming(attempt) => Some(*attempt),
            Event::Found(found) => found.token(),
        };
        if said.is_some() && self.attempt().is_some_and(|known| said != Some(known)) {
            self.unsure = true;
            return Ok(());
        }
        match event {
            Event::Streaming(attempt) => self.follow(attempt),
            Event::Found(found) => self.take(found),
        }
    }

    fn take(&mut self, found: Arc<Found>) -> Result<(), Status> {
        match &*found {
            Found::Underway(record) => match record.token {
                // Perhaps it answers with a stream, and the announcement was lost.
                Some(attempt) => self.follow(attempt),
                None => Ok(()),
            },
            Found::Finished(_) | Found::Purged => {
                self.ended = Some(found);
                Ok(())
            }
            Found::Pending | Found::Gathering(_) => Ok(()),
        }
    }

    /// Whether all messages of the finished job were handed on.
    async fn is_read(&mut self, ended: &Found) -> Result<bool, Status> {
        let Found::Finished(record) = ended else { return Ok(true) };
        let outcome = record.outcome.as_ref();
        match outcome.and_then(|outcome| outcome.stream.as_deref()) {
            Some(stream) => {
                self.follow(attempt_of(stream)?)?;
                let read = self.reader.as_ref().is_some_and(|reader| reader.next >= stream.chunks);
                let less = read && !self.prefix.is_complete();
                // An attempt that has failed before it came so far is a failed one.
                if less && !is_error(outcome) { Err(retried()) } else { Ok(read) }
            }
            None if self.prefix.is_empty() || is_error(outcome) => Ok(true),
            None if self.attempt().is_some() && !self.deterministic => Err(retried()),
            None => self.is_one_message(ended).await,
        }
    }

    /// A stream of one message is a single answer when its end comes with it. Whether that
    /// is what was handed on before.
    async fn is_one_message(&mut self, ended: &Found) -> Result<bool, Status> {
        let job = self.lookup.show(&self.job, ended.clone()).await?;
        let message = match job.outcome {
            Some(job::Outcome::Response(answer)) if answer.size == answer.message.len() as u64 => {
                answer.message
            }
            _ => return Err(retried()),
        };
        self.prefix.begin_again();
        let is_new = self.prefix.hand_on(&message)?;
        if !is_new && self.prefix.is_complete() { Ok(true) } else { Err(retried()) }
    }

    /// From now on the messages are those of this attempt.
    fn follow(&mut self, attempt: Token) -> Result<(), Status> {
        if self.attempt() == Some(attempt) {
            return Ok(());
        }
        if self.attempt().is_some() && !self.prefix.is_empty() {
            if !self.deterministic {
                return Err(retried());
            }
            self.prefix.begin_again();
        }
        self.waiting.clear();
        self.reader = Some(self.read(attempt));
        Ok(())
    }

    fn read(&self, attempt: Token) -> Reader {
        // Whose job has ended is ahead of nobody.
        let window = if self.ended.is_some() { 0 } else { WINDOW };
        Reader::new(self.lookup.clone(), &self.job, attempt, window)
    }
}

async fn late(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn is_error(outcome: Option<&Outcome>) -> bool {
    outcome.is_some_and(|outcome| matches!(outcome.result, Some(outcome::Result::Error(_))))
}

/// The attempt of a streamed answer.
pub(crate) fn attempt_of(stream: &StreamedAnswer) -> Result<Token, Status> {
    let bytes = stream.attempt[..].try_into().map_err(|_| lost())?;
    Ok(Token::from_bytes(bytes))
}

pub(crate) fn retried() -> Status {
    let message = "the job was tried again after a part of its answer had been handed out";
    error::status(Code::Aborted, reason::STREAM_RETRIED, message)
}

fn lost() -> Status {
    let message = "a part of the answer is missing";
    error::status(Code::DataLoss, reason::PAYLOAD_LOST, message)
}

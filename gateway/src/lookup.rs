//! Looking a job up: from an id to what may be said about it.
//!
//! Nobody answers a terminal state that is not stored: a job that is found past
//! its work expiry (and the clock skew) is stored as expired before that is
//! said.

mod forget;
mod streams;

pub use crate::gather::Closes;
use crate::quota::Quotas;
use crate::reading::Reading;
use crate::view::{self, Methods};
use bytes::Bytes;
use prost::Message;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::gather::LIST_TYPE;
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::outcome::Result as Kind;
use queuebridge_proto::v1::{Job, PayloadRef, State};
use queuebridge_proto::{JobId, JobIdError, Keyring, UnixMillis, outcome};
use queuebridge_store::{
    Author, Cancelled, Clock, End, Gathers, PayloadError, PayloadStore, Record, ResultStore,
    StoreError, StreamStore, Token,
};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Status};

/// Reads jobs and judges them by the clock.
pub struct Lookup {
    /// What is known about jobs.
    pub store: Arc<dyn ResultStore>,
    /// What is known about their branches.
    pub gathers: Gathers,
    /// Who decides those whose deadline has passed.
    pub closes: Closes,
    /// The messages of streams.
    pub streams: Arc<dyn StreamStore>,
    /// Where large answers are.
    pub payloads: Option<Arc<dyn PayloadStore>>,
    /// The time.
    pub clock: Clock,
    /// The methods this gateway has seen.
    pub methods: Methods,
    /// The largest answer that is shown in a job; larger ones are downloaded.
    pub max_response_bytes: usize,
    /// The largest message of any answer.
    pub max_message_bytes: usize,
    /// What the reading of many branches counts for.
    pub quotas: Quotas,
    /// Sign the ids of branches.
    pub job_id_keys: Keyring,
}

/// What the store and the clock say about a job.
#[derive(Clone, Debug)]
pub enum Found {
    /// Accepted; nobody has claimed it.
    Pending,
    /// Claimed, or between two attempts.
    Underway(Record),
    /// Sent to several branches, and not decided. For those who asked for changes: about
    /// how many have ended.
    Gathering(u32),
    /// Finished, and the result can be read.
    Finished(Record),
    /// Finished, and its retention is over.
    Purged,
}

impl Found {
    /// Whether nothing will change any more, except that it is forgotten.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Finished(_) | Self::Purged)
    }

    /// The attempt that is under way.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        match self {
            Self::Underway(record) => record.token,
            _ => None,
        }
    }
}

impl Lookup {
    /// The job as it stands.
    ///
    /// # Errors
    /// `NOT_FOUND`/`RESULT_PURGED`, `UNAVAILABLE`, or `DATA_LOSS`/`PAYLOAD_LOST`.
    pub async fn job(&self, job: &Reading) -> Result<Job, Status> {
        let _turn = job.turn().await;
        let found = self.find(job.id()).await?;
        self.show(job, found).await
    }

    /// What is stored, after the clock has been heard.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the store cannot be asked.
    pub async fn find(&self, id: &JobId) -> Result<Found, Status> {
        let now = self.clock.now();
        let mut record = self.store.get(id, now).await.map_err(|e| unreachable(&e))?;
        let overdue = now >= id.expires_at().plus(CLOCK_SKEW);
        let unfinished = record.as_ref().is_none_or(|record| !record.is_terminal());
        if overdue && unfinished {
            if record.is_none() && now >= id.expires_at().plus(id.retention() + CLOCK_SKEW) {
                return Ok(Found::Purged);
            }
            let verdict = if id.is_gather() { self.close(id, now).await? } else { None };
            record = match verdict {
                Some(verdict) => Some(verdict),
                None => self.expire(id, now).await?,
            };
        }
        let unfinished = record.as_ref().is_none_or(|record| !record.is_terminal());
        if id.is_gather() && unfinished {
            return Ok(Found::Gathering(0));
        }
        Ok(match record {
            None => Found::Pending,
            Some(record) if !record.is_terminal() => Found::Underway(record),
            Some(record) if record.outcome.is_none() => Found::Purged,
            Some(record) if record.purge_at(id).is_some_and(|at| at <= now) => Found::Purged,
            Some(record) => Found::Finished(record),
        })
    }

    async fn expire(&self, id: &JobId, now: UnixMillis) -> Result<Option<Record>, Status> {
        let (method, end) = (self.methods.of(id), End::new(State::Expired, outcome::expired()));
        let stored = self.store.complete(id, &method, Author::Expiry, end, now);
        stored.await.map_err(|e| unreachable(&e))?;
        self.store.get(id, now).await.map_err(|e| unreachable(&e))
    }

    /// As [`Lookup::find`], for those who want to see every change: of a gather that is not
    /// decided also how many branches have ended.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the store cannot be asked.
    pub async fn find_changes(&self, id: &JobId) -> Result<Found, Status> {
        match self.find(id).await? {
            Found::Gathering(_) => Ok(Found::Gathering(self.ended(id).await?)),
            found => Ok(found),
        }
    }

    /// The answer to what was found; fetches a large response.
    ///
    /// # Errors
    /// As [`Lookup::job`].
    pub async fn show(&self, job: &Reading, found: Found) -> Result<Job, Status> {
        let (reading, id, mut found, mut held) = (job, job.id(), found, 0);
        let (mut record, fetched, is_whole) = loop {
            let record = match found {
                Found::Pending => return Ok(view::accepted(id, self.methods.of(id))),
                Found::Purged => return Err(purged()),
                // In a list it would be a list of its own.
                Found::Gathering(_) if reading.is_item() => return self.outline(id, found),
                Found::Gathering(_) => return self.gathering(reading).await,
                Found::Underway(record) | Found::Finished(record) => record,
            };
            let (own, fetched) = self.weight(&record);
            // What is fetched is there twice at times: in pieces and as a whole, and then
            // once more as the message that it goes into.
            let loading = own + 2 * fetched;
            if loading <= held || reading.has_room(own + fetched, loading) {
                break (record, fetched, true);
            }
            if reading.is_item() {
                break (record, fetched, false);
            }
            // Whoever waits for room holds nothing of what it is for.
            drop(record);
            reading.room().take_next(loading).await?;
            held = loading;
            found = self.find(id).await?;
        };
        if is_whole {
            self.fetch_response(id, &mut record).await?;
            reading.room().give_back(fetched);
        }
        let method = std::mem::take(&mut record.method);
        let method = if method.is_empty() { self.methods.of(id) } else { method };
        let report = record.outcome.as_mut().and_then(|outcome| outcome.gather.take());
        let mut job = view::recorded(id, method, record);
        if reading.is_item() {
            return Ok(if is_whole { job } else { view::shortened(job) });
        }
        if let Some(report) = report {
            // It may be the answer as well, and is then there twice.
            if view::answer_is_list(&job) {
                view::answer_with_list(&mut job, &self.list(reading, &report));
            }
            let left = self.max_response_bytes.saturating_sub(job.encoded_len());
            job.gather = Some(Box::new(self.reported(reading, &report, left).await?));
        }
        Ok(job)
    }

    /// The state of a job and its times, and nothing that was said in it: for those who may
    /// act upon a job and not read it.
    ///
    /// # Errors
    /// `NOT_FOUND`/`RESULT_PURGED`.
    pub(crate) fn outline(&self, id: &JobId, found: Found) -> Result<Job, Status> {
        let method = self.methods.of(id);
        let mut job = match found {
            Found::Pending | Found::Gathering(_) => view::accepted(id, method),
            Found::Purged => return Err(purged()),
            Found::Underway(record) | Found::Finished(record) => view::recorded(id, method, record),
        };
        view::withhold(&mut job);
        Ok(job)
    }

    /// Cancels a job and says how it then stands.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION`/`NOT_CANCELLABLE`, and `UNAVAILABLE`.
    pub async fn cancel(&self, id: &JobId) -> Result<Found, Status> {
        if id.at_least_once() {
            let message = "a job with the guarantee at_least_once cannot be cancelled";
            return Err(error::status(Code::FailedPrecondition, reason::NOT_CANCELLABLE, message));
        }
        // An overdue job is expired, not cancelled.
        let found = self.find(id).await?;
        if let Found::Finished(record) = &found
            && id.is_gather()
            && record.state == State::Cancelled
        {
            // An earlier try may not have come to its branches.
            self.cancel_branches(id, record).await?;
        }
        if found.is_final() {
            return Ok(found);
        }
        if id.is_gather() {
            self.cancel_gather(id).await?;
            return self.find(id).await;
        }
        match self.store.cancel(id, self.clock.now()).await.map_err(|e| unreachable(&e))? {
            Cancelled::BeforeStart | Cancelled::Requested | Cancelled::AlreadyFinished => {
                self.find(id).await
            }
        }
    }

    /// How much is loaded to show a job: what its record says, and an answer that lies
    /// elsewhere if it is to be shown.
    fn weight(&self, record: &Record) -> (usize, usize) {
        let progress = record.progress.as_ref().map_or(0, Message::encoded_len);
        let Some(outcome) = &record.outcome else { return (progress, 0) };
        let elsewhere = match &outcome.result {
            Some(Kind::ResponseRef(at)) => usize::try_from(at.size).unwrap_or(usize::MAX),
            _ => 0,
        };
        let fetched = if elsewhere > self.max_response_bytes { 0 } else { elsewhere };
        let own = outcome.encoded_len();
        // The list of the branches may be the answer as well, and is then there twice.
        let list = if outcome.response_type == LIST_TYPE { own } else { 0 };
        (progress + own + list, fetched)
    }

    async fn fetch_response(&self, id: &JobId, record: &mut Record) -> Result<(), Status> {
        let Some(outcome) = &mut record.outcome else { return Ok(()) };
        if let Some(Kind::Response(message)) = &outcome.result
            && message.len() > self.max_response_bytes
        {
            // A store without a limit of its own may hold it in the record.
            let sha256 = Bytes::copy_from_slice(&Sha256::digest(message));
            let at = PayloadRef { size: message.len() as u64, sha256, ..PayloadRef::default() };
            outcome.result = Some(Kind::ResponseRef(at));
            return Ok(());
        }
        let Some(Kind::ResponseRef(at)) = &outcome.result else { return Ok(()) };
        if at.size > self.max_response_bytes as u64 {
            return Ok(());
        }
        match self.payloads()?.get(at).await {
            Ok(response) => {
                outcome.result = Some(Kind::Response(response));
                Ok(())
            }
            Err(error) => Err(self.lost(id, &error).await),
        }
    }

    /// The store of large payloads.
    ///
    /// # Errors
    /// `DATA_LOSS`/`PAYLOAD_LOST` when this gateway has none.
    pub(crate) fn payloads(&self) -> Result<&Arc<dyn PayloadStore>, Status> {
        self.payloads.as_ref().ok_or_else(|| {
            let message = "the answer lies in a payload store that this gateway does not have";
            error::status(Code::DataLoss, reason::PAYLOAD_LOST, message)
        })
    }

    /// What is said when the answer of a job cannot be fetched.
    pub(crate) async fn lost(&self, id: &JobId, error: &PayloadError) -> Status {
        tracing::warn!(job = %id, %error, "an answer could not be fetched");
        if let PayloadError::Unavailable(_) = error {
            return unavailable("the payload store cannot be reached");
        }
        // Perhaps it was deleted since the job was looked up.
        match self.find(id).await {
            Ok(Found::Purged) => purged(),
            _ => {
                let message = "the answer is missing from the payload store, or was altered";
                error::status(Code::DataLoss, reason::PAYLOAD_LOST, message)
            }
        }
    }
}

/// The answer to an id that is not one of ours. Forged, foreign and unknown are
/// one and the same.
#[must_use]
pub fn bad_id(field: &str, error: JobIdError) -> Status {
    match error {
        JobIdError::Malformed => {
            let reason = reason::MALFORMED_JOB_ID;
            error::refused_field(Code::InvalidArgument, reason, field, "not a job id")
        }
        JobIdError::Unknown => error::status(Code::NotFound, reason::JOB_NOT_FOUND, "no such job"),
    }
}

pub(crate) fn purged() -> Status {
    let message = "the job is finished, and its result was deleted or its retention is over";
    error::status(Code::NotFound, reason::RESULT_PURGED, message)
}

pub(crate) fn not_finished() -> Status {
    let message = "the job is not finished: wait for its end, or cancel it";
    error::status(Code::FailedPrecondition, reason::NOT_FINISHED, message)
}

pub(crate) fn unreachable(error: &StoreError) -> Status {
    tracing::warn!(%error, "a look-up failed");
    unavailable("the result store cannot be reached")
}

fn unavailable(message: &str) -> Status {
    let reason = reason::STORE_UNAVAILABLE;
    error::retry_after(Code::Unavailable, reason, message, Duration::from_secs(1))
}

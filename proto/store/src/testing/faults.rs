//! Stores behind a connection that loses requests and responses.
//!
//! The two are told apart because a lost response is where duplicates are born:
//! the call took effect, and its caller cannot know.

use crate::gather::{GatherStore, Tally};
use crate::lease::{Acquired, LeaseStore};
use crate::payload::{PayloadError, PayloadStore, PayloadStream};
use crate::record::{Record, Token};
use crate::result::{
    Author, Cancelled, ClaimRequest, Claimed, Completed, Deleted, End, Lease, Renewed, ResultStore,
    StoreError,
};
use crate::stream::{Lane, StreamStore};
use crate::submission::{Accepted, NewSubmission, RequestKey, SubmissionStore};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use queuebridge_proto::v1::{GatherPlan, PayloadRef, Progress, StreamChunk, StreamMark};
use queuebridge_proto::{JobId, UnixMillis};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it goes through.
    None,
    /// It never reaches the store; its caller gets an error.
    LoseRequest,
    /// It takes effect; its caller gets an error.
    LoseResponse,
}

/// A store whose calls meet faults: first those of the script, one per call,
/// then the periodic one, if there is any.
#[derive(Debug)]
pub struct Faulty<S: ?Sized> {
    plan: Mutex<Plan>,
    inner: Arc<S>,
}

#[derive(Debug)]
struct Plan {
    script: VecDeque<Fault>,
    every: Option<(u64, Fault)>,
    calls: u64,
}

impl<S: ?Sized> Faulty<S> {
    /// `inner` without any fault yet.
    #[must_use]
    pub fn new(inner: Arc<S>) -> Self {
        let plan = Plan { script: VecDeque::new(), every: None, calls: 0 };
        Self { plan: Mutex::new(plan), inner }
    }

    /// What is behind the connection.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Plans what the next calls meet, after what is planned already.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.plan().script.extend(faults);
    }

    /// Every `period`-th call meets `fault`, counted over all calls; 0 ends it.
    pub fn every(&self, period: u64, fault: Fault) {
        self.plan().every = (period > 0).then_some((period, fault));
    }

    /// How many calls there were, lost ones included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.plan().calls
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Fault {
        let mut plan = self.plan();
        plan.calls += 1;
        if let Some(fault) = plan.script.pop_front() {
            return fault;
        }
        match plan.every {
            Some((period, fault)) if plan.calls.is_multiple_of(period) => fault,
            _ => Fault::None,
        }
    }

    /// Makes one call over the bad connection.
    async fn call<T, E>(
        &self,
        lost: impl Fn(&str) -> E,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match self.next() {
            Fault::None => call.await,
            Fault::LoseRequest => Err(lost("the request was lost")),
            Fault::LoseResponse => {
                // A real error of the store says more than a lost answer.
                call.await?;
                Err(lost("the response was lost"))
            }
        }
    }
}

fn payload_error(text: &str) -> PayloadError {
    PayloadError::Unavailable(text.to_owned())
}

fn store_error(text: &str) -> StoreError {
    StoreError(text.to_owned())
}

#[async_trait]
impl<S: SubmissionStore + ?Sized> SubmissionStore for Faulty<S> {
    async fn accept(
        &self,
        key: &RequestKey,
        submission: NewSubmission<'_>,
        now: UnixMillis,
    ) -> Result<Accepted, StoreError> {
        self.call(store_error, self.inner.accept(key, submission, now)).await
    }

    async fn find(
        &self,
        key: &RequestKey,
        now: UnixMillis,
    ) -> Result<Option<Accepted>, StoreError> {
        self.call(store_error, self.inner.find(key, now)).await
    }

    async fn mark_published(&self, key: &RequestKey, now: UnixMillis) -> Result<(), StoreError> {
        self.call(store_error, self.inner.mark_published(key, now)).await
    }
}

#[async_trait]
impl<S: ResultStore + ?Sized> ResultStore for Faulty<S> {
    async fn claim(
        &self,
        job: &JobId,
        request: ClaimRequest<'_>,
        now: UnixMillis,
    ) -> Result<Claimed, StoreError> {
        self.call(store_error, self.inner.claim(job, request, now)).await
    }

    async fn renew(
        &self,
        job: &JobId,
        token: Token,
        lease: Lease,
        progress: Option<Progress>,
        now: UnixMillis,
    ) -> Result<Renewed, StoreError> {
        self.call(store_error, self.inner.renew(job, token, lease, progress, now)).await
    }

    async fn complete(
        &self,
        job: &JobId,
        method: &str,
        author: Author,
        end: End,
        now: UnixMillis,
    ) -> Result<Completed, StoreError> {
        self.call(store_error, self.inner.complete(job, method, author, end, now)).await
    }

    async fn get(&self, job: &JobId, now: UnixMillis) -> Result<Option<Record>, StoreError> {
        self.call(store_error, self.inner.get(job, now)).await
    }

    async fn cancel(&self, job: &JobId, now: UnixMillis) -> Result<Cancelled, StoreError> {
        self.call(store_error, self.inner.cancel(job, now)).await
    }

    async fn delete(&self, job: &JobId, now: UnixMillis) -> Result<Deleted, StoreError> {
        self.call(store_error, self.inner.delete(job, now)).await
    }
}

#[async_trait]
impl<S: GatherStore + ?Sized> GatherStore for Faulty<S> {
    async fn open(
        &self,
        gather: &JobId,
        plan: &GatherPlan,
        now: UnixMillis,
    ) -> Result<GatherPlan, StoreError> {
        self.call(store_error, self.inner.open(gather, plan, now)).await
    }

    async fn plan(
        &self,
        gather: &JobId,
        now: UnixMillis,
    ) -> Result<Option<GatherPlan>, StoreError> {
        self.call(store_error, self.inner.plan(gather, now)).await
    }

    async fn add(
        &self,
        gather: &JobId,
        branch: u32,
        succeeded: bool,
        now: UnixMillis,
    ) -> Result<Tally, StoreError> {
        self.call(store_error, self.inner.add(gather, branch, succeeded, now)).await
    }

    async fn tally(
        &self,
        gather: &JobId,
        number: u32,
        now: UnixMillis,
    ) -> Result<Tally, StoreError> {
        self.call(store_error, self.inner.tally(gather, number, now)).await
    }
}

#[async_trait]
impl<S: LeaseStore + ?Sized> LeaseStore for Faulty<S> {
    async fn acquire(
        &self,
        name: &str,
        holder: Token,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Result<Acquired, StoreError> {
        self.call(store_error, self.inner.acquire(name, holder, until, now)).await
    }

    async fn release(&self, name: &str, holder: Token) -> Result<(), StoreError> {
        self.call(store_error, self.inner.release(name, holder)).await
    }
}

#[async_trait]
impl<S: StreamStore + ?Sized> StreamStore for Faulty<S> {
    async fn append(
        &self,
        job: &JobId,
        lane: Lane,
        number: u32,
        chunk: StreamChunk,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        self.call(store_error, self.inner.append(job, lane, number, chunk, now)).await
    }

    async fn read(
        &self,
        job: &JobId,
        lane: Lane,
        number: u32,
        wait: Duration,
    ) -> Result<Option<StreamChunk>, StoreError> {
        self.call(store_error, self.inner.read(job, lane, number, wait)).await
    }

    async fn mark(
        &self,
        job: &JobId,
        lane: Lane,
        mark: StreamMark,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        self.call(store_error, self.inner.mark(job, lane, mark, now)).await
    }

    async fn marked(&self, job: &JobId, lane: Lane) -> Result<Option<StreamMark>, StoreError> {
        self.call(store_error, self.inner.marked(job, lane)).await
    }

    async fn delete(&self, job: &JobId, lane: Lane, chunks: u32) -> Result<(), StoreError> {
        self.call(store_error, self.inner.delete(job, lane, chunks)).await
    }
}

#[async_trait]
impl<S: PayloadStore + ?Sized> PayloadStore for Faulty<S> {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<PayloadRef, PayloadError> {
        self.call(payload_error, self.inner.put(key, bytes)).await
    }

    async fn get(&self, payload: &PayloadRef) -> Result<Bytes, PayloadError> {
        self.call(payload_error, self.inner.get(payload)).await
    }

    /// A lost response breaks off in the middle of the stream, after its first
    /// chunk.
    async fn open(&self, payload: &PayloadRef, offset: u64) -> Result<PayloadStream, PayloadError> {
        match self.next() {
            Fault::None => self.inner.open(payload, offset).await,
            Fault::LoseRequest => Err(payload_error("the request was lost")),
            Fault::LoseResponse => {
                let begun = self.inner.open(payload, offset).await?.take(1);
                let broken = stream::iter([Err(payload_error("the response was lost"))]);
                Ok(begun.chain(broken).boxed())
            }
        }
    }

    async fn delete(&self, key: &str) -> Result<(), PayloadError> {
        self.call(payload_error, self.inner.delete(key)).await
    }
}

//! The result store: who may run a job, and how it ended.
//!
//! ```text
//!   (no record) ──claim──▶ RUNNING ──complete(token)──▶ SUCCEEDED | FAILED | CANCELLED
//!      │  │  ▲               │  │
//!      │  │  └─renew(release)┘  └──past the expiry: complete(expiry)──▶ EXPIRED
//!      │  └──cancel──▶ CANCELLED
//!      └──complete(unclaimed | expiry)──▶ SUCCEEDED | FAILED | EXPIRED
//! ```
//!
//! A claim is granted when there is no record, when the last claim was
//! released, or when its lease has lapsed and may be taken over. Every arrow is
//! one conditional write.

use crate::record::{Record, Token};
use async_trait::async_trait;
use queuebridge_proto::v1::{Origin, Outcome, Progress, State};
use queuebridge_proto::{JobId, UnixMillis};

/// Stores what is known about jobs.
///
/// Every method is safe to repeat: a caller that lost the response calls again
/// and learns what is stored. Implementations do not retry beyond what their
/// client library does; the caller decides.
#[async_trait]
pub trait ResultStore: Send + Sync + 'static {
    /// Asks to run the job. A repeat with the same token, after a lost response, is
    /// granted the same attempt again. The origin of the first claim that is granted
    /// stays for as long as the record does.
    async fn claim(
        &self,
        job: &JobId,
        request: ClaimRequest<'_>,
        now: UnixMillis,
    ) -> Result<Claimed, StoreError>;

    /// Extends or releases a claim, and stores the progress if there is any.
    async fn renew(
        &self,
        job: &JobId,
        token: Token,
        lease: Lease,
        progress: Option<Progress>,
        now: UnixMillis,
    ) -> Result<Renewed, StoreError>;

    /// Finishes the job, once. The state is terminal and fits the outcome. Past the
    /// work expiry (and the skew) only [`State::Expired`] is taken.
    ///
    /// A repeat of a completion that was stored is answered
    /// [`Completed::AlreadyFinished`].
    async fn complete(
        &self,
        job: &JobId,
        method: &str,
        author: Author,
        end: End,
        now: UnixMillis,
    ) -> Result<Completed, StoreError>;

    /// The record as it stands, read consistently. `None`: nobody has claimed,
    /// cancelled or finished the job, or its tombstone is over.
    async fn get(&self, job: &JobId, now: UnixMillis) -> Result<Option<Record>, StoreError>;

    /// Cancels a job that has not started; tells one that runs.
    async fn cancel(&self, job: &JobId, now: UnixMillis) -> Result<Cancelled, StoreError>;

    /// Takes the outcome and the progress out of the record of a finished job. The
    /// rest stays as its tombstone.
    async fn delete(&self, job: &JobId, now: UnixMillis) -> Result<Deleted, StoreError>;
}

/// What a worker claims a job with.
#[derive(Clone, Debug)]
pub struct ClaimRequest<'a> {
    /// The called method.
    pub method: &'a str,
    /// The claim's name, chosen by the caller.
    pub token: Token,
    /// Until when the claim is to hold.
    pub lease_until: UnixMillis,
    /// What to do when the last claim was neither released nor renewed in time.
    pub lapsed: Lapsed,
    /// What the worker's copy of the message says of the job.
    pub origin: Origin,
}

impl<'a> ClaimRequest<'a> {
    /// A claim on a job that has no callback and no branches, and a request in its message.
    #[must_use]
    pub fn new(method: &'a str, token: Token, lease_until: UnixMillis, lapsed: Lapsed) -> Self {
        Self { method, token, lease_until, lapsed, origin: Origin::default() }
    }

    /// The claim with another origin.
    #[must_use]
    pub fn with_origin(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }
}

/// The answer of [`ResultStore::claim`], with what is stored of the job's beginning.
#[derive(Clone, Debug, PartialEq)]
pub struct Claimed {
    /// Whether the job may be run.
    pub claim: Claim,
    /// The origin that stands, whoever asks; `None` while none is stored.
    pub origin: Option<Origin>,
    /// A granted claim took over from one whose lease had run out: the worker that held it
    /// was lost, or could not reach the store.
    pub took_over: bool,
}

/// The end of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// The terminal state.
    pub state: State,
    /// What there is to be said about it.
    pub outcome: Outcome,
    /// What the message says of a job that nobody has claimed; stored unless one is.
    pub origin: Option<Origin>,
}

impl End {
    /// An end that says nothing of the beginning.
    #[must_use]
    pub fn new(state: State, outcome: Outcome) -> Self {
        Self { state, outcome, origin: None }
    }
}

/// Whether a job may be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Run it: this is attempt number `attempt`, from 1.
    Granted {
        /// How many claims were granted by now.
        attempt: u32,
    },
    /// The job is finished: do not run it.
    Finished,
    /// Another attempt holds the claim until then.
    HeldUntil(UnixMillis),
    /// The job was cancelled before it started.
    Cancelled,
    /// The last claim's lease ran out, and [`Lapsed::Leave`] was asked for.
    Lapsed,
}

/// What a claim does about a lease that ran out: its holder may have done all,
/// some or none of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapsed {
    /// Take the job over, as a further attempt.
    Take,
    /// Leave it as it is.
    Leave,
}

/// What [`ResultStore::renew`] should do with the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Hold it until then.
    Until(UnixMillis),
    /// Give it up: the next claim is granted at once.
    Release,
    /// Give it up, and do not count the attempt: it was not the job's fault.
    Return,
}

/// The answer of [`ResultStore::renew`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// The claim stands (or is released, if that was asked).
    Held {
        /// Somebody wants the job cancelled.
        cancel_requested: bool,
    },
    /// The claim belongs to someone else by now, or the job is finished.
    Lost,
}

/// Who finishes a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// The holder of this claim; also after its lease lapsed, as long as nobody
    /// else was granted one.
    Claim(Token),
    /// A worker without a claim (`at_least_once`), or one that found the
    /// attempts used up.
    Unclaimed,
    /// Whoever finds the job past its work expiry plus the clock skew.
    Expiry,
}

/// The answer of [`ResultStore::complete`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completed {
    /// This completion is the job's end.
    Stored,
    /// The job had ended before; this completion changed nothing.
    AlreadyFinished,
    /// The claim belongs to someone else by now; nothing was changed.
    Lost,
    /// Too late: only [`State::Expired`] can be written now.
    PastExpiry,
}

/// The answer of [`ResultStore::cancel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It will never run.
    BeforeStart,
    /// It runs, and its handler will be told.
    Requested,
    /// It had ended before.
    AlreadyFinished,
}

/// The answer of [`ResultStore::delete`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// Nobody can read the outcome any more.
    Deleted,
    /// There is no outcome yet; nothing was changed.
    NotFinished,
}

/// The store could not be asked, or did not answer. Nothing is known about
/// whether the call took effect.
#[derive(Debug, thiserror::Error)]
#[error("the result store could not be reached: {0}")]
pub struct StoreError(pub String);

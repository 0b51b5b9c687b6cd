//! A job at rest.

use queuebridge_proto::v1::{FinishedJob, Origin, Outcome, Progress, State};
use queuebridge_proto::{JobId, UnixMillis};
use std::time::Duration;
use uuid::Uuid;

/// Proof that an attempt was granted; the fence of `complete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(Uuid);

impl Token {
    /// A fresh, unguessable token.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// From its stored form.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Its stored form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.simple().fmt(f)
    }
}

/// What the store knows of a job. A job that was accepted and not yet claimed
/// has no record: its id is the proof that it exists.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The called method; empty when the record was written by someone who only
    /// had the id (a cancellation before the start, an expiry).
    pub method: String,
    /// Where the job stands.
    pub state: State,
    /// Granted claims so far.
    pub attempt: u32,
    /// The live claim, if there is one.
    pub token: Option<Token>,
    /// Whether the latest claim took over from one whose lease had run out.
    pub took_over: bool,
    /// Until when the claim holds; meaningless without a token.
    pub lease_until: UnixMillis,
    /// When the latest claim was granted.
    pub started_at: Option<UnixMillis>,
    /// When the job reached its terminal state.
    pub completed_at: Option<UnixMillis>,
    /// A cancellation was asked for while the job ran.
    pub cancel_requested: bool,
    /// What the handler last reported.
    pub progress: Option<Progress>,
    /// How the job ended; set exactly in a terminal state, and dropped once the
    /// retention is over.
    pub outcome: Option<Outcome>,
    /// What the message said with which the job was begun. It stays for as long as the
    /// record does, because copies of the message may come for as long. `None`: nobody has
    /// begun the job, or an earlier version of the worker did.
    pub origin: Option<Origin>,
}

impl Record {
    /// A record of a job that nothing is known about but its id.
    #[must_use]
    pub fn new(method: &str) -> Self {
        Self {
            method: method.to_owned(),
            state: State::Accepted,
            attempt: 0,
            token: None,
            took_over: false,
            lease_until: UnixMillis(0),
            started_at: None,
            completed_at: None,
            cancel_requested: false,
            progress: None,
            outcome: None,
            origin: None,
        }
    }

    /// From the form in which finished jobs are announced and reported.
    #[must_use]
    pub fn of_finished(finished: FinishedJob) -> Self {
        let time = |millis: u64| Some(UnixMillis(millis)).filter(|at| at.0 > 0);
        Self {
            state: finished.state(),
            attempt: finished.attempt,
            started_at: time(finished.started_at),
            completed_at: time(finished.completed_at),
            outcome: finished.outcome,
            ..Self::new(&finished.method)
        }
    }

    /// In the form in which finished jobs are announced and reported.
    #[must_use]
    pub fn into_finished(self) -> FinishedJob {
        FinishedJob {
            state: self.state as i32,
            method: self.method,
            attempt: self.attempt,
            started_at: self.started_at.unwrap_or_default().0,
            completed_at: self.completed_at.unwrap_or_default().0,
            outcome: self.outcome,
        }
    }

    /// Whether the job is finished.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        is_terminal(self.state)
    }

    /// Until when the result can be read; `None` while there is none.
    #[must_use]
    pub fn purge_at(&self, job: &JobId) -> Option<UnixMillis> {
        self.completed_at.map(|at| at.plus(job.retention()))
    }

    /// Until when the record must rest, so that no copy of the message that may
    /// still be in a queue can start the job again.
    #[must_use]
    pub fn tombstone_until(&self, job: &JobId, copies_survive: Duration) -> UnixMillis {
        let purge = self.purge_at(job).unwrap_or_else(|| job.expires_at().plus(job.retention()));
        purge.max(job.expires_at()).plus(copies_survive)
    }
}

/// Whether a state is written once and never changed.
#[must_use]
pub fn is_terminal(state: State) -> bool {
    matches!(state, State::Succeeded | State::Failed | State::Cancelled | State::Expired)
}

//! The result store in memory.

use super::agenda::Agenda;
use super::gathers::AllGathers;
use super::leases::Held;
use super::lock;
use super::streams::Shard;
use super::submissions::Keys;
use crate::record::{Record, Token};
use crate::result::{
    Author, Cancelled, ClaimRequest, Claimed, Completed, Deleted, End, Lease, Renewed, ResultStore,
    StoreError,
};
use crate::rules;
use async_trait::async_trait;
use queuebridge_proto::v1::{Progress, State};
use queuebridge_proto::{JobId, UnixMillis};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Mutex;
use std::time::Duration;
use uuid::Uuid;

/// Many more than cores, so that two calls seldom meet at one lock.
pub(super) const SHARDS: usize = 64;

/// Keeps records in this process; they end with it.
#[derive(Debug)]
pub struct MemoryResultStore {
    pub(super) copies_survive: Duration,
    jobs: Vec<Mutex<Jobs>>,
    pub(super) keys: Vec<Mutex<Keys>>,
    pub(super) leases: Mutex<HashMap<String, Held>>,
    pub(super) gathers: Mutex<AllGathers>,
    pub(super) streams: Vec<Shard>,
}

#[derive(Debug)]
struct Jobs {
    resting: HashMap<Uuid, Resting>,
    agenda: Agenda<Uuid>,
}

#[derive(Debug)]
struct Resting {
    record: Record,
    /// The appointment of this record: the end of the retention, then the end
    /// of the tombstone.
    due: UnixMillis,
    tombstone_until: UnixMillis,
}

impl MemoryResultStore {
    /// An empty store. `copies_survive` is the longest time for which a copy of
    /// a message may still turn up after its job is over: a tombstone rests that
    /// much longer.
    #[must_use]
    pub fn new(copies_survive: Duration) -> Self {
        let jobs = || Mutex::new(Jobs { resting: HashMap::new(), agenda: Agenda::new() });
        Self {
            copies_survive,
            jobs: std::iter::repeat_with(jobs).take(SHARDS).collect(),
            keys: std::iter::repeat_with(Keys::shard).take(SHARDS).collect(),
            leases: Mutex::default(),
            gathers: Mutex::new(AllGathers::new()),
            streams: std::iter::repeat_with(Shard::new).take(SHARDS).collect(),
        }
    }

    /// How many records rest here, tombstones included.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.jobs.iter().map(|shard| lock(shard).resting.len()).sum()
    }

    fn shard(&self, uuid: &Uuid) -> &Mutex<Jobs> {
        // The last byte of a UUIDv7 is random.
        &self.jobs[usize::from(uuid.as_bytes()[15]) % SHARDS]
    }

    /// Applies a rule to the record of a job.
    fn apply<A>(&self, job: &JobId, now: UnixMillis, rule: impl FnOnce(&mut Record) -> A) -> A {
        let uuid = job.uuid();
        let mut shard = lock(self.shard(&uuid));
        let Jobs { resting, agenda } = &mut *shard;
        agenda.sweep(now, |at, uuid| sweep(resting, at, uuid, now));
        match resting.entry(uuid) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                let answer = rule(&mut known.record);
                let (due, tombstone_until) = self.appointments(&known.record, job);
                if due != known.due {
                    agenda.add(due, uuid);
                    known.due = due;
                }
                known.tombstone_until = tombstone_until;
                answer
            }
            Entry::Vacant(unknown) => {
                let mut record = Record::new("");
                let answer = rule(&mut record);
                // Every arrow that leaves the state without a record ends in
                // another state; otherwise nothing was written.
                if record.state != State::Accepted {
                    let (due, tombstone_until) = self.appointments(&record, job);
                    agenda.add(due, uuid);
                    unknown.insert(Resting { record, due, tombstone_until });
                }
                answer
            }
        }
    }

    fn appointments(&self, record: &Record, job: &JobId) -> (UnixMillis, UnixMillis) {
        let tombstone_until = record.tombstone_until(job, self.copies_survive);
        let purge_at = record.purge_at(job).filter(|_| record.outcome.is_some());
        (purge_at.unwrap_or(tombstone_until), tombstone_until)
    }
}

/// Drops what is over: first the outcome, then the record.
fn sweep(
    resting: &mut HashMap<Uuid, Resting>,
    at: UnixMillis,
    uuid: &Uuid,
    now: UnixMillis,
) -> Option<UnixMillis> {
    let known = resting.get_mut(uuid).filter(|known| known.due == at)?;
    if known.tombstone_until <= now {
        resting.remove(uuid);
        return None;
    }
    known.record.outcome = None;
    known.due = known.tombstone_until;
    Some(known.due)
}

#[async_trait]
impl ResultStore for MemoryResultStore {
    async fn claim(
        &self,
        job: &JobId,
        request: ClaimRequest<'_>,
        now: UnixMillis,
    ) -> Result<Claimed, StoreError> {
        Ok(self.apply(job, now, |record| {
            let claim = rules::claim(record, &request, now);
            let took_over = record.took_over && matches!(claim, crate::Claim::Granted { .. });
            Claimed { claim, origin: record.origin.clone(), took_over }
        }))
    }

    async fn renew(
        &self,
        job: &JobId,
        token: Token,
        lease: Lease,
        progress: Option<Progress>,
        now: UnixMillis,
    ) -> Result<Renewed, StoreError> {
        Ok(self.apply(job, now, |record| rules::renew(record, token, lease, progress)))
    }

    async fn complete(
        &self,
        job: &JobId,
        method: &str,
        author: Author,
        end: End,
        now: UnixMillis,
    ) -> Result<Completed, StoreError> {
        rules::require_terminal(end.state)?;
        Ok(self.apply(job, now, |record| rules::complete(record, job, method, author, end, now)))
    }

    async fn get(&self, job: &JobId, now: UnixMillis) -> Result<Option<Record>, StoreError> {
        let uuid = job.uuid();
        let record = lock(self.shard(&uuid)).resting.get(&uuid).map(|known| known.record.clone());
        Ok(record.and_then(|record| rules::visible(record, job, self.copies_survive, now)))
    }

    async fn cancel(&self, job: &JobId, now: UnixMillis) -> Result<Cancelled, StoreError> {
        Ok(self.apply(job, now, |record| rules::cancel(record, job, now)))
    }

    async fn delete(&self, job: &JobId, now: UnixMillis) -> Result<Deleted, StoreError> {
        Ok(self.apply(job, now, rules::delete))
    }
}

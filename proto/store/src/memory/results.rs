//! The result store in memory.

use super::agenda::Agenda;
use super::lock;
use crate::record::{Record, Token};
use crate::result::{
    Accepted, Author, Cancelled, Claim, Completed, Lapsed, Lease, Renewed, RequestKey, ResultStore,
    StoreError,
};
use crate::rules;
use async_trait::async_trait;
use queuebridge_proto::v1::{Outcome, Progress, State};
use queuebridge_proto::{JobId, UnixMillis};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Mutex;
use std::time::Duration;
use uuid::Uuid;

/// Many more than cores, so that two calls seldom meet at one lock.
const SHARDS: usize = 64;

/// Keeps records in this process; they end with it.
#[derive(Debug)]
pub struct MemoryResultStore {
    copies_survive: Duration,
    jobs: Vec<Mutex<Jobs>>,
    keys: Vec<Mutex<Keys>>,
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

#[derive(Debug)]
struct Keys {
    submissions: HashMap<RequestKey, Submission>,
    agenda: Agenda<RequestKey>,
}

#[derive(Debug)]
struct Submission {
    job: JobId,
    digest: [u8; 32],
    published: bool,
    until: UnixMillis,
}

impl MemoryResultStore {
    /// An empty store. `copies_survive` is the longest time for which a copy of
    /// a message may still turn up after its job is over: a tombstone rests that
    /// much longer.
    #[must_use]
    pub fn new(copies_survive: Duration) -> Self {
        let jobs = || Mutex::new(Jobs { resting: HashMap::new(), agenda: Agenda::new() });
        let keys = || Mutex::new(Keys { submissions: HashMap::new(), agenda: Agenda::new() });
        Self {
            copies_survive,
            jobs: std::iter::repeat_with(jobs).take(SHARDS).collect(),
            keys: std::iter::repeat_with(keys).take(SHARDS).collect(),
        }
    }

    /// How many records rest here, tombstones included.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.jobs.iter().map(|shard| lock(shard).resting.len()).sum()
    }

    /// How many request keys rest here.
    #[must_use]
    pub fn request_key_count(&self) -> usize {
        self.keys.iter().map(|shard| lock(shard).submissions.len()).sum()
    }

    fn shard(&self, uuid: &Uuid) -> &Mutex<Jobs> {
        // The last byte of a UUIDv7 is random.
        &self.jobs[usize::from(uuid.as_bytes()[15]) % SHARDS]
    }

    fn key_shard(&self, key: &RequestKey) -> &Mutex<Keys> {
        &self.keys[usize::from(key[0]) % SHARDS]
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
    async fn accept(
        &self,
        key: &RequestKey,
        job: &JobId,
        digest: &[u8; 32],
        now: UnixMillis,
    ) -> Result<Accepted, StoreError> {
        let mut shard = lock(self.key_shard(key));
        let Keys { submissions, agenda } = &mut *shard;
        agenda.sweep(now, |at, key| {
            if submissions.get(key).is_some_and(|known| known.until == at) {
                submissions.remove(key);
            }
            None
        });
        if let Some(known) = submissions.get(key).filter(|known| known.until > now) {
            let Submission { job, digest, published, .. } = *known;
            return Ok(Accepted::Existing { job, digest, published });
        }
        let until = rules::request_key_until(job, self.copies_survive);
        agenda.add(until, *key);
        submissions
            .insert(*key, Submission { job: *job, digest: *digest, published: false, until });
        Ok(Accepted::New)
    }

    async fn mark_published(&self, key: &RequestKey, now: UnixMillis) -> Result<(), StoreError> {
        let mut shard = lock(self.key_shard(key));
        if let Some(known) = shard.submissions.get_mut(key).filter(|known| known.until > now) {
            known.published = true;
        }
        Ok(())
    }

    async fn claim(
        &self,
        job: &JobId,
        method: &str,
        token: Token,
        lease_until: UnixMillis,
        lapsed: Lapsed,
        now: UnixMillis,
    ) -> Result<Claim, StoreError> {
        Ok(self.apply(job, now, |record| {
            rules::claim(record, method, token, lease_until, lapsed, now)
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
        state: State,
        outcome: Outcome,
        now: UnixMillis,
    ) -> Result<Completed, StoreError> {
        rules::require_terminal(state)?;
        let end = (state, outcome);
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
}

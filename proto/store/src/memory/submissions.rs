//! Idempotent submissions in memory.

use super::agenda::Agenda;
use super::lock;
use super::results::{MemoryResultStore, SHARDS};
use crate::result::StoreError;
use crate::rules;
use crate::submission::{Accepted, NewSubmission, Owner, RequestKey, SubmissionStore};
use async_trait::async_trait;
use queuebridge_proto::{JobId, UnixMillis};
use std::collections::HashMap;
use std::sync::Mutex;

#[derive(Debug)]
pub(super) struct Keys {
    submissions: HashMap<RequestKey, Submission>,
    agenda: Agenda<RequestKey>,
}

#[derive(Debug)]
struct Submission {
    job: JobId,
    digest: [u8; 32],
    owner: Owner,
    published: bool,
    mac: Vec<u8>,
    until: UnixMillis,
}

impl Submission {
    fn existing(&self) -> Accepted {
        let Self { job, digest, owner, published, .. } = *self;
        Accepted::Existing { job, digest, owner: Some(owner), published, mac: self.mac.clone() }
    }
}

impl Keys {
    pub(super) fn shard() -> Mutex<Self> {
        Mutex::new(Self { submissions: HashMap::new(), agenda: Agenda::new() })
    }
}

impl MemoryResultStore {
    /// How many request keys rest here.
    #[must_use]
    pub fn request_key_count(&self) -> usize {
        self.keys.iter().map(|shard| lock(shard).submissions.len()).sum()
    }

    fn key_shard(&self, key: &RequestKey) -> &Mutex<Keys> {
        &self.keys[usize::from(key[0]) % SHARDS]
    }
}

#[async_trait]
impl SubmissionStore for MemoryResultStore {
    async fn accept(
        &self,
        key: &RequestKey,
        submission: NewSubmission<'_>,
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
            return Ok(known.existing());
        }
        let NewSubmission { job, digest, owner, mac } = submission;
        let until = rules::request_key_until(job, self.copies_survive);
        agenda.add(until, *key);
        let (job, digest, owner, mac) = (*job, *digest, *owner, mac.to_vec());
        submissions.insert(*key, Submission { job, digest, owner, published: false, mac, until });
        Ok(Accepted::New)
    }

    async fn find(
        &self,
        key: &RequestKey,
        now: UnixMillis,
    ) -> Result<Option<Accepted>, StoreError> {
        let shard = lock(self.key_shard(key));
        let known = shard.submissions.get(key).filter(|known| known.until > now);
        Ok(known.map(Submission::existing))
    }

    async fn mark_published(&self, key: &RequestKey, now: UnixMillis) -> Result<(), StoreError> {
        let mut shard = lock(self.key_shard(key));
        if let Some(known) = shard.submissions.get_mut(key).filter(|known| known.until > now) {
            known.published = true;
        }
        Ok(())
    }
}

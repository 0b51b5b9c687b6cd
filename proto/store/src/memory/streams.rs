//! Streams in memory.

use super::agenda::Agenda;
use super::lock;
use super::results::{MemoryResultStore, SHARDS};
use crate::result::StoreError;
use crate::rules;
use crate::stream::{Lane, StreamStore};
use async_trait::async_trait;
use queuebridge_proto::v1::{StreamChunk, StreamMark};
use queuebridge_proto::{JobId, UnixMillis};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

type Key = (Uuid, Lane);

/// Some of the lanes.
#[derive(Debug)]
pub(super) struct Shard {
    lanes: Mutex<Lanes>,
    /// Something was written. Readers of other lanes look in vain, which costs little, and
    /// a reader leaves nothing behind.
    news: Notify,
}

#[derive(Debug)]
struct Lanes {
    resting: HashMap<Key, Resting>,
    agenda: Agenda<Key>,
}

#[derive(Debug)]
struct Resting {
    // A repeat may be lost and come later, but no number is left out.
    chunks: HashMap<u32, StreamChunk>,
    mark: Option<StreamMark>,
    until: UnixMillis,
}

impl Shard {
    pub(super) fn new() -> Self {
        let lanes = Lanes { resting: HashMap::new(), agenda: Agenda::new() };
        Self { lanes: Mutex::new(lanes), news: Notify::new() }
    }
}

impl Lanes {
    /// The lane, to be written to.
    fn written(&mut self, key: Key, until: UnixMillis, now: UnixMillis) -> &mut Resting {
        let Self { resting, agenda } = self;
        agenda.sweep(now, |at, key| {
            if resting.get(key).is_some_and(|known| known.until == at) {
                resting.remove(key);
            }
            None
        });
        resting.entry(key).or_insert_with(|| {
            agenda.add(until, key);
            Resting { chunks: HashMap::new(), mark: None, until }
        })
    }
}

impl MemoryResultStore {
    /// How many streams rest here.
    #[must_use]
    pub fn stream_count(&self) -> usize {
        self.streams.iter().map(|shard| lock(&shard.lanes).resting.len()).sum()
    }

    fn stream_shard(&self, job: &JobId) -> &Shard {
        &self.streams[usize::from(job.uuid().as_bytes()[15]) % SHARDS]
    }
}

#[async_trait]
impl StreamStore for MemoryResultStore {
    async fn append(
        &self,
        job: &JobId,
        lane: Lane,
        number: u32,
        chunk: StreamChunk,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let shard = self.stream_shard(job);
        let key = (job.uuid(), lane);
        let mut lanes = lock(&shard.lanes);
        let lane = lanes.written(key, rules::stream_until(job), now);
        lane.chunks.entry(number).or_insert(chunk);
        drop(lanes);
        shard.news.notify_waiters();
        Ok(())
    }

    async fn read(
        &self,
        job: &JobId,
        lane: Lane,
        number: u32,
        wait: Duration,
    ) -> Result<Option<StreamChunk>, StoreError> {
        let shard = self.stream_shard(job);
        let key = (job.uuid(), lane);
        let look = || {
            let lanes = lock(&shard.lanes);
            lanes.resting.get(&key).and_then(|lane| lane.chunks.get(&number)).cloned()
        };
        let found = look();
        if found.is_some() || wait.is_zero() {
            return Ok(found);
        }
        let end = Instant::now() + wait;
        loop {
            // Before the look: what is written from now on is heard.
            let news = shard.news.notified();
            let found = look();
            if found.is_some() || timeout_at(end, news).await.is_err() {
                return Ok(found);
            }
        }
    }

    async fn mark(
        &self,
        job: &JobId,
        lane: Lane,
        mark: StreamMark,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let mut lanes = lock(&self.stream_shard(job).lanes);
        let noted = &mut lanes.written((job.uuid(), lane), rules::stream_until(job), now).mark;
        if noted.is_none_or(|noted| noted.taken <= mark.taken) {
            *noted = Some(mark);
        }
        Ok(())
    }

    async fn marked(&self, job: &JobId, lane: Lane) -> Result<Option<StreamMark>, StoreError> {
        let lanes = lock(&self.stream_shard(job).lanes);
        Ok(lanes.resting.get(&(job.uuid(), lane)).and_then(|lane| lane.mark))
    }

    async fn delete(&self, job: &JobId, lane: Lane, _chunks: u32) -> Result<(), StoreError> {
        lock(&self.stream_shard(job).lanes).resting.remove(&(job.uuid(), lane));
        Ok(())
    }
}

//! Reply shards: the queues on which workers announce finished jobs.
//!
//! Their number is fixed when a deployment is made, and nothing is created later.
//! A gateway leases one of them, names it in the envelopes of the jobs that it
//! accepts, and hands what comes out of it to those who wait. A gateway without a
//! shard lets them poll the store.

pub mod keeper;
mod reader;

pub use reader::read;

use queuebridge_proto::JobId;
use std::sync::{PoisonError, RwLock};

/// The deployment's reply shards, and which of them this gateway reads.
#[derive(Debug, Default)]
pub struct Replies {
    shards: Vec<String>,
    held: RwLock<Option<u8>>,
}

impl Replies {
    /// The shards of a deployment, by the URLs of their queues, in the same order
    /// at every gateway. At most
    /// [`MAX_REPLY_SHARDS`](queuebridge_proto::job_id::MAX_REPLY_SHARDS).
    #[must_use]
    pub fn new(shards: Vec<String>) -> Self {
        Self { shards, held: RwLock::default() }
    }

    /// For a gateway whose workers are in the same process and need no queue.
    #[must_use]
    pub fn in_process() -> Self {
        Self { shards: vec!["in-process".to_owned()], held: RwLock::new(Some(0)) }
    }

    /// The number of the shard that this gateway reads, if it reads one.
    #[must_use]
    pub fn held(&self) -> Option<u8> {
        *self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The URL of the shard on which a job's end is announced; empty if it is not.
    #[must_use]
    pub fn of(&self, job: &JobId) -> String {
        let shard = job.reply_shard().and_then(|number| self.shards.get(usize::from(number)));
        shard.cloned().unwrap_or_default()
    }

    /// Whether the end of a job will be announced here.
    #[must_use]
    pub fn expects(&self, job: &JobId) -> bool {
        job.reply_shard().is_some_and(|number| self.held() == Some(number))
    }

    fn hold(&self, shard: Option<u8>) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = shard;
    }
}

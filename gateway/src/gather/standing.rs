//! Branches as they stand, one after the other: however much they have said, no more of it
//! is held than a list shows.

use super::LOOKS;
use crate::lookup::Lookup;
use crate::reading::Reading;
use crate::view;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use prost::Message;
use queuebridge_proto::JobId;
use queuebridge_proto::v1::Job;
use queuebridge_store::{RECORD_BYTES, Record};
use tonic::Status;

/// A branch of which a list is made.
pub(super) struct Listed {
    pub(super) id: JobId,
    pub(super) method: String,
    /// How it stands, if that is known.
    pub(super) known: Option<Record>,
}

impl Lookup {
    /// The branches in their order, at most `most` bytes of them: what is large is left out
    /// from the end of the list on. Whoever `shows` something already does not wait for room.
    pub(super) async fn standing(
        &self,
        reading: &Reading,
        branches: Vec<Listed>,
        most: usize,
        shows: bool,
    ) -> Result<Vec<Job>, Status> {
        let looks = branches.iter().filter(|branch| branch.known.is_none()).count();
        // What is kept, and what is loaded at once beyond that.
        let loading = most.min(looks * RECORD_BYTES) + looks.min(LOOKS) * RECORD_BYTES;
        if looks > 0 {
            self.quotas.may_read(reading.tenant())?;
            let room = reading.room();
            if shows {
                room.take(loading).await?
            } else {
                room.take_next(loading).await?
            }
            self.quotas.have_read(reading.tenant(), looks);
        }
        let look = |Listed { id, method, known }: Listed| async move {
            let record = match known {
                Some(record) => record,
                None => self.now(&id).await?,
            };
            Ok::<_, Status>(self.branch(&id, &method, record))
        };
        let mut left = most;
        let kept = |job: Job| match left.checked_sub(job.encoded_len()) {
            Some(rest) => {
                left = rest;
                job
            }
            None => view::shortened(job),
        };
        let jobs = stream::iter(branches).map(look).buffered(LOOKS).map_ok(kept);
        let mut jobs: Vec<Job> = jobs.try_collect().await?;
        view::shorten(&mut jobs, most);
        if looks > 0 {
            let kept: usize = jobs.iter().map(Job::encoded_len).sum();
            reading.room().give_back(loading.saturating_sub(kept));
        }
        Ok(jobs)
    }
}

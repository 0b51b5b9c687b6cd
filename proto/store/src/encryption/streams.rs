//! Streams whose chunks cannot be read in the table.

use super::EncryptedStore;
use super::results::{forged, unreadable};
use crate::result::StoreError;
use crate::stream::{Lane, StreamStore};
use async_trait::async_trait;
use queuebridge_proto::encryption::Context;
use queuebridge_proto::v1::{StreamChunk, StreamMark};
use queuebridge_proto::{JobId, UnixMillis};
use std::time::Duration;

fn of_chunk(job: &JobId, lane: Lane, number: u32) -> Context {
    let lane = lane.to_string();
    Context::new("chunk", &[job.uuid().as_bytes(), lane.as_bytes(), &number.to_be_bytes()])
}

#[async_trait]
impl<S: StreamStore + ?Sized> StreamStore for EncryptedStore<S> {
    async fn append(
        &self,
        job: &JobId,
        lane: Lane,
        number: u32,
        chunk: StreamChunk,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let encrypted = self
            .encryption
            .encrypt(&of_chunk(job, lane, number), &chunk)
            .await
            .map_err(unreadable)?;
        let chunk = match encrypted {
            Some(sealed) => StreamChunk { encrypted: Some(sealed), ..StreamChunk::default() },
            None => chunk,
        };
        self.inner.append(job, lane, number, chunk, now).await
    }

    async fn read(
        &self,
        job: &JobId,
        lane: Lane,
        number: u32,
        wait: Duration,
    ) -> Result<Option<StreamChunk>, StoreError> {
        let chunk = self.inner.read(job, lane, number, wait).await?;
        let Some(sealed) = chunk.as_ref().and_then(|chunk| chunk.encrypted.as_ref()) else {
            let stored = chunk.as_ref().and_then(|chunk| chunk.stored.as_ref());
            return if stored.is_some_and(|at| at.encrypted) { Err(forged()) } else { Ok(chunk) };
        };
        let chunk = self
            .encryption
            .decrypt(&of_chunk(job, lane, number), sealed)
            .await
            .map_err(unreadable)?;
        Ok(Some(chunk))
    }

    async fn mark(
        &self,
        job: &JobId,
        lane: Lane,
        mark: StreamMark,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        self.inner.mark(job, lane, mark, now).await
    }

    async fn marked(&self, job: &JobId, lane: Lane) -> Result<Option<StreamMark>, StoreError> {
        self.inner.marked(job, lane).await
    }

    async fn delete(&self, job: &JobId, lane: Lane, chunks: u32) -> Result<(), StoreError> {
        self.inner.delete(job, lane, chunks).await
    }
}

//! Chunks of streams as items of their own.

use super::DynamoResultStore;
use super::arrow::Arrow;
use super::item;
use crate::result::StoreError;
use crate::rules;
use crate::stream::{Lane, StreamStore};
use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use queuebridge_proto::v1::{StreamChunk, StreamMark};
use queuebridge_proto::{JobId, UnixMillis};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two looks for a chunk: at first, and at most. A look costs one read unit per
/// 4 KiB of what it finds.
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(250);
/// Chunks that are dropped at once.
const AT_ONCE: usize = 16;

#[async_trait]
impl StreamStore for DynamoResultStore {
    async fn append(
        &self,
        job: &JobId,
        lane: Lane,
        number: u32,
        chunk: StreamChunk,
        _now: UnixMillis,
    ) -> Result<(), StoreError> {
        // (no item) ──▶ this chunk
        let first = Arrow::new("attribute_not_exists(pk)")
            .set("chunk", item::message(&chunk))
            .set("ttl", item::number(rules::stream_until(job).ceil_secs()))
            .silent();
        // Refused means that it is there.
        first.write_item(self, key(job, lane, number)).await?.ok();
        Ok(())
    }

    async fn read(
        &self,
        job: &JobId,
        lane: Lane,
        number: u32,
        wait: Duration,
    ) -> Result<Option<StreamChunk>, StoreError> {
        let end = Instant::now() + wait;
        let mut pause = SHORTEST;
        loop {
            // One that was dropped may still be there, empty.
            if let Some(found) = self.read_item(key(job, lane, number)).await?
                && let Some(chunk) = item::find_bytes(&found, "chunk")?
            {
                return item::decode(chunk).map(Some);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            sleep(pause.min(left)).await;
            pause = (pause * 3 / 2).min(LONGEST);
        }
    }

    async fn mark(
        &self,
        job: &JobId,
        lane: Lane,
        mark: StreamMark,
        _now: UnixMillis,
    ) -> Result<(), StoreError> {
        // no note, or one of no more ──▶ this note
        let note = Arrow::new("attribute_not_exists(#taken) OR #taken <= :taken")
            .set("mark", item::message(&mark))
            .set("taken", item::number(mark.taken.into()))
            .set("ttl", item::number(rules::stream_until(job).ceil_secs()))
            .silent();
        note.write_item(self, mark_key(job, lane)).await?.ok();
        Ok(())
    }

    async fn marked(&self, job: &JobId, lane: Lane) -> Result<Option<StreamMark>, StoreError> {
        let Some(found) = self.read_item(mark_key(job, lane)).await? else { return Ok(None) };
        item::find_bytes(&found, "mark")?.map(item::decode).transpose()
    }

    async fn delete(&self, job: &JobId, lane: Lane, chunks: u32) -> Result<(), StoreError> {
        let keys = (0..chunks).map(|number| key(job, lane, number));
        let emptied = keys.chain([mark_key(job, lane)]).map(|key| async {
            // any ──▶ nothing in it, and soon not there any more. Items whose time was over
            // years ago DynamoDB would keep.
            let ends = item::number(job.expires_at().ceil_secs());
            let empty = Arrow::always().set("ttl", ends).remove(&["chunk", "mark", "taken"]);
            empty.silent().write_item(self, key).await.map(drop)
        });
        stream::iter(emptied).buffer_unordered(AT_ONCE).try_collect().await
    }
}

fn key(job: &JobId, lane: Lane, number: u32) -> AttributeValue {
    AttributeValue::S(format!("stream#{}#{lane}#{number}", job.uuid()))
}

fn mark_key(job: &JobId, lane: Lane) -> AttributeValue {
    AttributeValue::S(format!("stream#{}#{lane}#mark", job.uuid()))
}

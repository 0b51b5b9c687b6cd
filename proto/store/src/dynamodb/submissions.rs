//! Idempotent submissions as items of their own.

use super::arrow::Arrow;
use super::item::{self, foreign};
use super::{DynamoResultStore, restless};
use crate::result::StoreError;
use crate::rules;
use crate::submission::{Accepted, NewSubmission, RequestKey, SubmissionStore};
use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use item::Item;
use queuebridge_proto::{JobId, UnixMillis};
use std::fmt::Write;

#[async_trait]
impl SubmissionStore for DynamoResultStore {
    async fn accept(
        &self,
        key: &RequestKey,
        submission: NewSubmission<'_>,
        now: UnixMillis,
    ) -> Result<Accepted, StoreError> {
        let NewSubmission { job, digest, owner, mac } = submission;
        let until = rules::request_key_until(job, self.copies_survive);
        // (no item) | over, and not yet deleted ──▶ this job's
        let first = Arrow::new("attribute_not_exists(pk) OR #until <= :now")
            .with("now", item::time(now))
            .set("job", AttributeValue::S(job.to_string()))
            .set("digest", item::bytes(digest))
            .set("owner", item::bytes(owner))
            .set("mac", item::bytes(mac))
            .set("published", item::flag(false))
            .set("until", item::time(until))
            .set("ttl", item::number(until.ceil_secs()));
        match first.write_item(self, request_key(key)).await? {
            Ok(_) => Ok(Accepted::New),
            Err(Some(found)) => existing(&found),
            Err(None) => Err(restless()),
        }
    }

    async fn find(
        &self,
        key: &RequestKey,
        now: UnixMillis,
    ) -> Result<Option<Accepted>, StoreError> {
        let Some(found) = self.read_item(request_key(key)).await? else { return Ok(None) };
        let rests = item::find_time(&found, "until")?.is_some_and(|until| until > now);
        if rests { existing(&found).map(Some) } else { Ok(None) }
    }

    async fn mark_published(&self, key: &RequestKey, now: UnixMillis) -> Result<(), StoreError> {
        // this job's ──▶ this job's, published
        let mark = Arrow::new("#until > :now")
            .with("now", item::time(now))
            .set("published", item::flag(true));
        // Refused means that the submission is over: there is nothing to mark.
        mark.write_item(self, request_key(key)).await?.ok();
        Ok(())
    }
}

fn existing(item: &Item) -> Result<Accepted, StoreError> {
    let job = item::find_text(item, "job")?.and_then(|text| JobId::parse_trusted(text).ok());
    let digest = item::find_bytes(item, "digest")?.and_then(|bytes| bytes.try_into().ok());
    let owner = item::find_bytes(item, "owner")?.map(TryInto::try_into).transpose();
    Ok(Accepted::Existing {
        job: job.ok_or_else(|| foreign("job"))?,
        digest: digest.ok_or_else(|| foreign("digest"))?,
        owner: owner.map_err(|_| foreign("owner"))?,
        published: item::find_flag(item, "published")?,
        mac: item::find_bytes(item, "mac")?.map(Into::into).unwrap_or_default(),
    })
}

fn request_key(key: &RequestKey) -> AttributeValue {
    let mut text = String::from("req#");
    for byte in key {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    AttributeValue::S(text)
}

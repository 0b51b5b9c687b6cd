//! Leases as items of their own.

use super::arrow::Arrow;
use super::item::{self, foreign};
use super::{DynamoResultStore, restless};
use crate::lease::{Acquired, LeaseStore};
use crate::record::Token;
use crate::result::StoreError;
use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use queuebridge_proto::UnixMillis;
use std::time::Duration;

/// How long the item of a lease stays after its end: nobody needs it then.
const REST: Duration = Duration::from_secs(24 * 60 * 60);

#[async_trait]
impl LeaseStore for DynamoResultStore {
    async fn acquire(
        &self,
        name: &str,
        holder: Token,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Result<Acquired, StoreError> {
        // (no item) | mine | over ──▶ mine
        let take = Arrow::new("attribute_not_exists(pk) OR #holder = :holder OR #until <= :now")
            .with("now", item::time(now))
            .set("holder", item::token(holder))
            .set("until", item::time(until))
            .set("ttl", item::number(until.plus(REST).ceil_secs()))
            .silent();
        match take.write_item(self, lease_key(name)).await? {
            Ok(_) => Ok(Acquired::Held),
            Err(Some(held)) => match item::find_time(&held, "until")? {
                Some(until) => Ok(Acquired::HeldUntil(until)),
                None => Err(foreign("until")),
            },
            Err(None) => Err(restless()),
        }
    }

    async fn release(&self, name: &str, holder: Token) -> Result<(), StoreError> {
        // mine ──▶ over
        let give = Arrow::new("#holder = :holder")
            .with("holder", item::token(holder))
            .set("until", item::time(UnixMillis(0)))
            .silent();
        // Refused means that it is not mine.
        give.write_item(self, lease_key(name)).await?.ok();
        Ok(())
    }
}

fn lease_key(name: &str) -> AttributeValue {
    AttributeValue::S(format!("lease#{name}"))
}

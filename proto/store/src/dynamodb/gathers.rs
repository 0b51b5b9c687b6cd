//! Plans and tallies as items of their own: a tally is written for every branch, and
//! must not carry the plan along.

use super::arrow::Arrow;
use super::item::{self, Item, foreign};
use super::{DynamoResultStore, restless};
use crate::gather::{GatherStore, TALLY, Tally};
use crate::result::StoreError;
use crate::rules;
use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use queuebridge_proto::v1::GatherPlan;
use queuebridge_proto::{JobId, UnixMillis};

#[async_trait]
impl GatherStore for DynamoResultStore {
    async fn open(
        &self,
        gather: &JobId,
        plan: &GatherPlan,
        _now: UnixMillis,
    ) -> Result<GatherPlan, StoreError> {
        let until = rules::gather_until(gather, plan, self.copies_survive);
        // (no item) ──▶ this plan
        let first = Arrow::new("attribute_not_exists(pk)")
            .set("plan", item::message(plan))
            .set("until", item::time(until))
            .set("ttl", item::number(until.ceil_secs()))
            .silent();
        match first.write_item(self, plan_key(gather)).await? {
            Ok(_) => Ok(plan.clone()),
            Err(Some(found)) => plan_of(&found),
            Err(None) => Err(restless()),
        }
    }

    async fn plan(
        &self,
        gather: &JobId,
        now: UnixMillis,
    ) -> Result<Option<GatherPlan>, StoreError> {
        let Some(found) = self.read_item(plan_key(gather)).await? else { return Ok(None) };
        if item::find_time(&found, "until")?.is_none_or(|until| until <= now) {
            return Ok(None);
        }
        plan_of(&found).map(Some)
    }

    async fn add(
        &self,
        gather: &JobId,
        branch: u32,
        succeeded: bool,
        _now: UnixMillis,
    ) -> Result<Tally, StoreError> {
        let set = if succeeded { "succeeded" } else { "failed" };
        let until = rules::tally_until(gather, self.copies_survive);
        // any ──▶ the same and this branch
        let add = Arrow::always()
            .add_to(set, u64::from(branch % TALLY))
            .set("ttl", item::number(until.ceil_secs()));
        match add.write_item(self, tally_key(gather, branch / TALLY)).await? {
            Ok(written) => tally_of(&written),
            Err(_) => Err(restless()),
        }
    }

    async fn tally(
        &self,
        gather: &JobId,
        number: u32,
        _now: UnixMillis,
    ) -> Result<Tally, StoreError> {
        let found = self.read_item(tally_key(gather, number)).await?;
        found.map_or_else(|| Ok(Tally::default()), |found| tally_of(&found))
    }
}

fn plan_of(item: &Item) -> Result<GatherPlan, StoreError> {
    item::decode(item::find_bytes(item, "plan")?.ok_or_else(|| foreign("plan"))?)
}

fn tally_of(item: &Item) -> Result<Tally, StoreError> {
    let set = |name| Ok(item::find_numbers(item, name)?.into_iter().collect());
    Ok(Tally { succeeded: set("succeeded")?, failed: set("failed")? })
}

fn plan_key(gather: &JobId) -> AttributeValue {
    AttributeValue::S(format!("gather#{}", gather.uuid()))
}

fn tally_key(gather: &JobId, number: u32) -> AttributeValue {
    AttributeValue::S(format!("tally#{}#{number}", gather.uuid()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use queuebridge_proto::Keyring;
    use queuebridge_proto::gather::MAX_GROUP;
    use queuebridge_proto::job_id::Claims;

    /// By DynamoDB's rules: a number has a byte for two digits and one more.
    fn size(value: &AttributeValue) -> usize {
        let number = |text: &str| text.len().div_ceil(2) + 1;
        match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::N(text) => number(text),
            AttributeValue::Ns(all) => all.iter().map(|text| number(text)).sum(),
            other => panic!("{other:?}"),
        }
    }

    /// What a branch adds is one write unit, however many have come before.
    #[test]
    fn a_full_tally_is_one_write_unit() {
        let claims = Claims {
            uuid: uuid::Uuid::now_v7(),
            tenant: "t",
            method: "/a.B/C",
            expires_at: UnixMillis(1_700_000_000_000),
            retention: std::time::Duration::ZERO,
            at_least_once: false,
            reply_shard: None,
        };
        let gather = JobId::mint_gather(&claims, &Keyring::single(&[1; 32]));
        let set = |range: std::ops::Range<u32>| {
            AttributeValue::Ns(range.map(|number| number.to_string()).collect())
        };
        let item = [
            ("pk", tally_key(&gather, MAX_GROUP / TALLY)),
            ("succeeded", set(0..TALLY / 2)),
            ("failed", set(TALLY / 2..TALLY)),
            ("ttl", AttributeValue::N("1700000000".into())),
        ];
        let bytes: usize = item.iter().map(|(name, value)| name.len() + size(value)).sum();
        assert!(bytes <= 1024, "{bytes} bytes");
        println!("a full tally has {bytes} bytes");
    }
}

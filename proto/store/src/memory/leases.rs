//! Leases in memory.

use super::lock;
use super::results::MemoryResultStore;
use crate::lease::{Acquired, LeaseStore};
use crate::record::Token;
use crate::result::StoreError;
use async_trait::async_trait;
use queuebridge_proto::UnixMillis;

#[derive(Debug)]
pub(super) struct Held {
    holder: Token,
    until: UnixMillis,
}

#[async_trait]
impl LeaseStore for MemoryResultStore {
    async fn acquire(
        &self,
        name: &str,
        holder: Token,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Result<Acquired, StoreError> {
        let mut leases = lock(&self.leases);
        if let Some(held) = leases.get(name).filter(|h| h.holder != holder && h.until > now) {
            return Ok(Acquired::HeldUntil(held.until));
        }
        leases.insert(name.to_owned(), Held { holder, until });
        Ok(Acquired::Held)
    }

    async fn release(&self, name: &str, holder: Token) -> Result<(), StoreError> {
        let mut leases = lock(&self.leases);
        if leases.get(name).is_some_and(|held| held.holder == holder) {
            leases.remove(name);
        }
        Ok(())
    }
}

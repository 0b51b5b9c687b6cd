//! The lease store: names that one process at a time may hold.

use crate::record::Token;
use crate::result::StoreError;
use async_trait::async_trait;
use queuebridge_proto::UnixMillis;

/// Leases names to processes. A lease ends by itself, so that the name of a
/// process that died is free again. Both methods are safe to repeat.
#[async_trait]
pub trait LeaseStore: Send + Sync + 'static {
    /// Takes the lease of `name`, or prolongs it: `holder` is told apart from
    /// others by its token. It is granted when nobody holds it, from its last
    /// millisecond on.
    async fn acquire(
        &self,
        name: &str,
        holder: Token,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Result<Acquired, StoreError>;

    /// Gives the lease up. Without it, nothing happens.
    async fn release(&self, name: &str, holder: Token) -> Result<(), StoreError>;
}

/// The answer of [`LeaseStore::acquire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// It is the caller's, until the given time.
    Held,
    /// It is another one's, until then.
    HeldUntil(UnixMillis),
}

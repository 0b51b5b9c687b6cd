//! The gather store: what the branches of a job have come to.
//!
//! Every branch is a job with a record of its own in the result store. Beside them a
//! gather has its plan, written before the branches are published, and one small tally
//! for every 256 branches: the sets of the numbers of those that have ended. Adding to
//! a set is idempotent, so that it is simply repeated with every redelivery. The
//! verdict is the end of the gather's own record, which is written once like any other.
//!
//! Where there are several tallies, those that are full are added to a set of their own,
//! the root. So no item is written by more than 256 branches.

mod answer;
mod close;
mod indexes;
mod outcome;
mod standing;

pub use close::{Cause, Gathers, branch_ids, method_of};
pub use indexes::Indexes;

use crate::result::StoreError;
use async_trait::async_trait;
use queuebridge_proto::gather::MAX_GROUP;
use queuebridge_proto::v1::GatherPlan;
use queuebridge_proto::{JobId, UnixMillis};

/// How many branches share a tally.
pub const TALLY: u32 = 256;

/// What [`GatherStore::add`] takes for the number of a branch when it is that of a full
/// tally: the root is one more tally, behind all others.
pub const ROOT: u32 = MAX_GROUP;

/// Keeps the plans and the tallies of gathers, as long as their tombstones. Every
/// method is safe to repeat.
#[async_trait]
pub trait GatherStore: Send + Sync + 'static {
    /// Writes the plan down, unless there is one already; the plan that stands.
    async fn open(
        &self,
        gather: &JobId,
        plan: &GatherPlan,
        now: UnixMillis,
    ) -> Result<GatherPlan, StoreError>;

    /// The plan, read consistently. `None`: it was never written, or its time is over.
    async fn plan(&self, gather: &JobId, now: UnixMillis)
    -> Result<Option<GatherPlan>, StoreError>;

    /// Notes that a branch has ended; its tally with it.
    async fn add(
        &self,
        gather: &JobId,
        branch: u32,
        succeeded: bool,
        now: UnixMillis,
    ) -> Result<Tally, StoreError>;

    /// The tally of the branches from `number` times [`TALLY`] on, read consistently.
    async fn tally(
        &self,
        gather: &JobId,
        number: u32,
        now: UnixMillis,
    ) -> Result<Tally, StoreError>;
}

/// How many branches the tally of this number has, of so many.
#[must_use]
pub fn size_of_tally(number: u32, total: u32) -> u32 {
    total.saturating_sub(number.saturating_mul(TALLY)).min(TALLY)
}

/// Which branches of one tally have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// As a success.
    pub succeeded: Indexes,
    /// In another way.
    pub failed: Indexes,
}

impl Tally {
    /// How many have ended.
    #[must_use]
    pub fn ended(&self) -> u32 {
        self.succeeded.count() + self.failed.count()
    }
}

//! Gathers in memory.

use super::agenda::Agenda;
use super::lock;
use super::results::MemoryResultStore;
use crate::gather::{GatherStore, TALLY, Tally};
use crate::result::StoreError;
use crate::rules;
use async_trait::async_trait;
use queuebridge_proto::v1::GatherPlan;
use queuebridge_proto::{JobId, UnixMillis};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

#[derive(Debug)]
pub(super) struct AllGathers {
    resting: HashMap<Uuid, Resting>,
    agenda: Agenda<Uuid>,
}

#[derive(Debug)]
struct Resting {
    plan: Option<GatherPlan>,
    tallies: BTreeMap<u32, Tally>,
    until: UnixMillis,
}

impl AllGathers {
    pub(super) fn new() -> Self {
        Self { resting: HashMap::new(), agenda: Agenda::new() }
    }
}

impl MemoryResultStore {
    /// How many gathers rest here.
    #[must_use]
    pub fn gather_count(&self) -> usize {
        lock(&self.gathers).resting.len()
    }

    fn gather<A>(
        &self,
        gather: &JobId,
        until: UnixMillis,
        now: UnixMillis,
        change: impl FnOnce(&mut Resting) -> A,
    ) -> A {
        let mut all = lock(&self.gathers);
        let AllGathers { resting, agenda } = &mut *all;
        agenda.sweep(now, |at, uuid| {
            if resting.get(uuid).is_some_and(|known| known.until == at) {
                resting.remove(uuid);
            }
            None
        });
        let known = resting.entry(gather.uuid()).or_insert_with(|| Resting {
            plan: None,
            tallies: BTreeMap::new(),
            until: UnixMillis(0),
        });
        if known.until < until {
            known.until = until;
            agenda.add(until, gather.uuid());
        }
        change(known)
    }
}

#[async_trait]
impl GatherStore for MemoryResultStore {
    async fn open(
        &self,
        gather: &JobId,
        plan: &GatherPlan,
        now: UnixMillis,
    ) -> Result<GatherPlan, StoreError> {
        let until = rules::gather_until(gather, plan, self.copies_survive);
        Ok(self.gather(gather, until, now, |known| {
            known.plan.get_or_insert_with(|| plan.clone()).clone()
        }))
    }

    async fn plan(
        &self,
        gather: &JobId,
        now: UnixMillis,
    ) -> Result<Option<GatherPlan>, StoreError> {
        let all = lock(&self.gathers);
        let known = all.resting.get(&gather.uuid()).filter(|known| known.until > now);
        Ok(known.and_then(|known| known.plan.clone()))
    }

    async fn add(
        &self,
        gather: &JobId,
        branch: u32,
        succeeded: bool,
        now: UnixMillis,
    ) -> Result<Tally, StoreError> {
        let until = rules::tally_until(gather, self.copies_survive);
        Ok(self.gather(gather, until, now, |known| {
            let tally = known.tallies.entry(branch / TALLY).or_default();
            let set = if succeeded { &mut tally.succeeded } else { &mut tally.failed };
            // It is less than TALLY.
            set.insert(u8::try_from(branch % TALLY).unwrap_or(u8::MAX));
            *tally
        }))
    }

    async fn tally(
        &self,
        gather: &JobId,
        number: u32,
        _now: UnixMillis,
    ) -> Result<Tally, StoreError> {
        let all = lock(&self.gathers);
        let tallies = all.resting.get(&gather.uuid()).map(|known| &known.tallies);
        Ok(tallies.and_then(|tallies| tallies.get(&number)).copied().unwrap_or_default())
    }
}

//! The conformance suite of [`GatherStore`].
//!
//! Time is only an argument. Every case uses gathers of its own.

use super::run;
use crate::gather::{GatherStore, TALLY, Tally};
use queuebridge_proto::job_id::Claims;
use queuebridge_proto::v1::{GatherPlan, GatherRule, PlannedBranch};
use queuebridge_proto::{JobId, Keyring, UnixMillis};
use std::sync::Arc;
use std::time::Duration;

const START: UnixMillis = UnixMillis(1_700_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone)]
struct Subject {
    store: Arc<dyn GatherStore>,
    copies_survive: Duration,
}

/// Runs every case against `store`, which was made with `copies_survive`.
///
/// # Panics
/// When a case fails, with its name.
pub async fn conformance(store: Arc<dyn GatherStore>, copies_survive: Duration) {
    let subject = Subject { store, copies_survive };
    run!(subject;
        cases:
            the_first_plan_stays,
            without_a_plan_there_is_none,
            a_plan_rests_as_long_as_a_copy_of_a_branch_may_come,
            adding_twice_is_adding_once,
            successes_and_failures_are_kept_apart,
            every_256_branches_have_a_tally_of_their_own,
            gathers_are_independent,
            nothing_is_lost_when_many_add_at_once
    );
}

fn gather() -> JobId {
    let claims = Claims {
        uuid: uuid::Uuid::new_v4(),
        tenant: "t",
        method: "/a.B/C",
        expires_at: START.plus(HOUR),
        retention: HOUR,
        at_least_once: false,
        reply_shard: None,
    };
    JobId::mint_gather(&claims, &Keyring::single(&[1; 32]))
}

fn plan(need: u32) -> GatherPlan {
    let branch = |name: &str| PlannedBranch { name: name.into(), method: "/a.B/C".into() };
    GatherPlan {
        rule: Some(GatherRule { need, ..GatherRule::default() }),
        tenant: "t".into(),
        method: "/a.B/C".into(),
        branches: vec![branch("a"), branch("b")],
        expires_at: START.plus(HOUR * 2).0,
        callback: None,
        ..GatherPlan::default()
    }
}

fn tally(succeeded: &[u8], failed: &[u8]) -> Tally {
    let set = |numbers: &[u8]| numbers.iter().copied().collect();
    Tally { succeeded: set(succeeded), failed: set(failed) }
}

mod cases {
    use super::*;

    pub(super) async fn the_first_plan_stays(s: Subject) {
        let gather = gather();
        assert_eq!(s.store.open(&gather, &plan(1), START).await.unwrap(), plan(1));
        assert_eq!(s.store.open(&gather, &plan(2), START).await.unwrap(), plan(1));
        assert_eq!(s.store.plan(&gather, START).await.unwrap(), Some(plan(1)));
    }

    pub(super) async fn without_a_plan_there_is_none(s: Subject) {
        let gather = gather();
        assert_eq!(s.store.plan(&gather, START).await.unwrap(), None);
        // A message may outlive its plan.
        s.store.add(&gather, 0, true, START).await.unwrap();
        assert_eq!(s.store.plan(&gather, START).await.unwrap(), None);
        assert_eq!(s.store.open(&gather, &plan(1), START).await.unwrap(), plan(1));
        assert_eq!(s.store.tally(&gather, 0, START).await.unwrap(), tally(&[0], &[]));
    }

    pub(super) async fn a_plan_rests_as_long_as_a_copy_of_a_branch_may_come(s: Subject) {
        let gather = gather();
        s.store.open(&gather, &plan(1), START).await.unwrap();
        let end = START.plus(HOUR * 3 + s.copies_survive);
        let last = UnixMillis(end.0 - 1);
        assert_eq!(s.store.plan(&gather, last).await.unwrap(), Some(plan(1)));
        let after = end.plus(Duration::from_secs(10));
        assert_eq!(s.store.plan(&gather, after).await.unwrap(), None);
    }

    pub(super) async fn adding_twice_is_adding_once(s: Subject) {
        let gather = gather();
        for _ in 0..2 {
            assert_eq!(s.store.add(&gather, 7, true, START).await.unwrap(), tally(&[7], &[]));
        }
        assert_eq!(s.store.tally(&gather, 0, START).await.unwrap(), tally(&[7], &[]));
    }

    pub(super) async fn successes_and_failures_are_kept_apart(s: Subject) {
        let gather = gather();
        s.store.add(&gather, 0, true, START).await.unwrap();
        s.store.add(&gather, 255, false, START).await.unwrap();
        let both = s.store.add(&gather, 3, false, START).await.unwrap();
        assert_eq!(both, tally(&[0], &[3, 255]));
        assert_eq!(s.store.tally(&gather, 0, START).await.unwrap(), both);
    }

    pub(super) async fn every_256_branches_have_a_tally_of_their_own(s: Subject) {
        let gather = gather();
        assert_eq!(s.store.add(&gather, TALLY - 1, true, START).await.unwrap(), tally(&[255], &[]));
        assert_eq!(s.store.add(&gather, TALLY, true, START).await.unwrap(), tally(&[0], &[]));
        assert_eq!(s.store.tally(&gather, 0, START).await.unwrap(), tally(&[255], &[]));
        assert_eq!(s.store.tally(&gather, 2, START).await.unwrap(), Tally::default());
    }

    pub(super) async fn gathers_are_independent(s: Subject) {
        let (one, other) = (gather(), gather());
        s.store.open(&one, &plan(1), START).await.unwrap();
        s.store.add(&one, 0, true, START).await.unwrap();
        assert_eq!(s.store.plan(&other, START).await.unwrap(), None);
        assert_eq!(s.store.tally(&other, 0, START).await.unwrap(), Tally::default());
    }

    pub(super) async fn nothing_is_lost_when_many_add_at_once(s: Subject) {
        let gather = gather();
        let adds = (0..64).map(|branch| {
            let s = s.clone();
            tokio::spawn(async move { s.store.add(&gather, branch, branch % 2 == 0, START).await })
        });
        let mut last = 0;
        for add in adds.collect::<Vec<_>>() {
            let tally = add.await.unwrap().unwrap();
            last = last.max(tally.succeeded.count() + tally.failed.count());
        }
        assert_eq!(last, 64, "whoever comes last sees all");
    }
}

//! What ends after the deadline, and what is left to do then.

use super::subject::*;
use queuebridge_proto::error::reason;
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::gather_rule::Answer;
use queuebridge_proto::v1::{GatherRule, State};
use queuebridge_store::gather::{Cause, branch_ids};
use queuebridge_store::testing::{Fault, Faulty};
use queuebridge_store::{ClaimRequest, Gathers, Lapsed, Record, ResultStore, Token};
use std::sync::Arc;
use tonic::Code;

#[tokio::test]
async fn a_branch_that_ends_before_the_verdict_and_after_the_deadline_is_late() {
    let answer = Some(Answer::Merge(true));
    let s = Subject::new(3, GatherRule { partial: true, answer, ..all() }, HOUR * 2).await;
    s.store_end(0, ok(1), after(1)).await;
    s.store_end(1, ok(2), s.id.expires_at()).await;
    s.store_end(2, End::Code(Code::Internal), s.id.expires_at().plus(SECOND)).await;
    let verdict = s.close(Cause::Deadline, s.id.expires_at().plus(HOUR / 2)).await.unwrap();
    assert_eq!((verdict.state, response(&verdict)), (State::Succeeded, vec![1]));
    assert_eq!(states(&verdict), [State::Succeeded, State::Accepted, State::Accepted]);
    assert_eq!((report(&verdict).succeeded, report(&verdict).failed), (1, 0));
    assert!(report(&verdict).branches[1].outcome.is_none());
}

#[tokio::test]
async fn what_expires_with_its_gather_has_ended_and_is_not_the_reason() {
    let s = Subject::new(2, all(), HOUR).await;
    s.store_end(1, ok(1), after(1)).await;
    let verdict = s.close(Cause::Deadline, s.id.expires_at().plus(CLOCK_SKEW)).await.unwrap();
    assert_eq!(refusal(&verdict).1, reason::JOB_EXPIRED);
    assert_eq!(states(&verdict), [State::Expired, State::Succeeded]);
    assert_eq!((report(&verdict).succeeded, report(&verdict).failed), (1, 1));
}

/// To look at a gather writes its verdict, and the end of what somebody holds: of jobs that
/// were never sent there may be many.
#[tokio::test]
async fn past_their_work_expiry_those_that_nobody_has_claimed_are_not_written() {
    let s = Subject::new(256, all(), HOUR).await;
    s.store_end(1, ok(1), after(1)).await;
    let ids = branch_ids(&s.id, &s.plan);
    let until = s.id.expires_at();
    let request = ClaimRequest::new("/a.B/M2", Token::random(), until, Lapsed::Take);
    s.store.claim(&ids[2], request, after(1)).await.unwrap();
    let (before, now) = (s.store.record_count(), s.id.expires_at().plus(CLOCK_SKEW));
    let verdict = s.close(Cause::Deadline, now).await.unwrap();
    assert_eq!(s.store.record_count(), before + 1);
    let expired = State::Expired;
    assert_eq!(states(&verdict)[..4], [expired, State::Succeeded, expired, expired]);
    assert_eq!((report(&verdict).succeeded, report(&verdict).failed), (1, 255));
    // They are reported alike.
    let expired = &report(&verdict).branches;
    let said = |at: usize| (expired[at].completed_at, expired[at].outcome.clone());
    assert_eq!(said(2), said(3));
    assert_eq!(s.store.get(&ids[2], now).await.unwrap().unwrap().state, State::Expired);
}

/// Whatever is lost on the way: once there is a verdict, the rest is cancelled.
#[tokio::test]
async fn a_verdict_of_the_deadline_leaves_nothing_running() {
    for fault in [Fault::LoseRequest, Fault::LoseResponse] {
        for call in 0..16 {
            let rule = GatherRule { partial: true, cancel_rest: true, ..all() };
            let s = Subject::new(3, rule, HOUR * 2).await;
            s.store_end(0, ok(1), after(1)).await;
            let store = Arc::new(Faulty::new(s.store.clone()));
            store.script(vec![Fault::None; call]);
            store.script([fault]);
            let gathers = Gathers::new(store, None);
            let late = s.id.expires_at().plus(CLOCK_SKEW);
            while gathers.close(&s.id, Cause::Deadline, late).await.is_err() {}
            let verdict = s.store.get(&s.id, late).await.unwrap().unwrap();
            assert_eq!(verdict.state, State::Succeeded);
            for branch in &branch_ids(&s.id, &s.plan)[1..] {
                let state = s.store.get(branch, late).await.unwrap().map(|record| record.state);
                assert_eq!(state, Some(State::Cancelled), "{fault:?} of call {call}");
            }
        }
    }
}

#[tokio::test]
async fn a_cancelled_gather_is_carried_out_also_when_its_report_is_forgotten() {
    let s = Subject::new(2, all(), HOUR).await;
    let verdict = s.close(Cause::Cancelled, after(1)).await.unwrap();
    s.store.delete(&s.id, after(2)).await.unwrap();
    let forgotten = Record { outcome: None, ..verdict };
    s.gathers.cancel_rest(&s.id, &forgotten, after(2)).await.unwrap();
    for branch in &branch_ids(&s.id, &s.plan) {
        let record = s.store.get(branch, after(2)).await.unwrap().unwrap();
        assert_eq!(record.state, State::Cancelled);
    }
}

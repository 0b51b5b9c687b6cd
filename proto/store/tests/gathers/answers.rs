//! Answers whose parts are gone.

use super::subject::*;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use queuebridge_proto::error::reason;
use queuebridge_proto::gather::MAX_MERGED_BYTES;
use queuebridge_proto::v1::gather_rule::Answer;
use queuebridge_proto::v1::outcome::Result as Kind;
use queuebridge_proto::v1::{GatherPlan, GatherRule, PayloadRef, State};
use queuebridge_store::gather::{Cause, branch_ids};
use queuebridge_store::memory::{MemoryPayloadStore, MemoryResultStore};
use queuebridge_store::testing::{Fault, Faulty};
use queuebridge_store::{
    GatherStore, Gathers, PayloadError, PayloadStore, PayloadStream, Record, ResultStore,
};
use std::sync::Arc;
use tokio::sync::Barrier;
use tonic::Code;

fn rule(answer: Answer) -> GatherRule {
    GatherRule { answer: Some(answer), ..all() }
}

async fn forget(s: &Subject, branch: usize) {
    s.store.delete(&branch_ids(&s.id, &s.plan)[branch], after(1)).await.unwrap();
}

fn failed_with(verdict: &Record, code: Code, reason: &str) {
    let (found, why, _) = refusal(verdict);
    assert_eq!((verdict.state, found, why.as_str()), (State::Failed, code, reason));
}

#[tokio::test]
async fn without_the_answer_that_it_is_to_have_a_gather_has_failed() {
    for answer in [Answer::Primary("b0".into()), Answer::Merge(true)] {
        let s = Subject::new(2, rule(answer), HOUR).await;
        s.store_end(0, ok(1), after(1)).await;
        forget(&s, 0).await;
        let verdict = s.end(1, ok(2), after(2)).await.unwrap();
        failed_with(&verdict, Code::NotFound, reason::RESULT_PURGED);
        assert_eq!(states(&verdict), [State::Succeeded; 2]);
    }
}

#[tokio::test]
async fn a_lost_part_fails_the_merged_answer_and_leaves_nothing_open() {
    let missing = PayloadRef { key: "t/answers/gone".into(), size: 1, ..PayloadRef::default() };
    for stored in [true, false] {
        let mut s = Subject::new(2, rule(Answer::Merge(true)), HOUR).await;
        let there = s.payloads.put("t/answers/there", vec![1].into()).await.unwrap();
        // Without a store, or with an object that is not the one that was stored.
        if stored {
            s.payloads.put("t/answers/there", vec![2].into()).await.unwrap();
        } else {
            s.gathers.payloads = None;
        }
        s.store_end(0, End::Stored(there), after(1)).await;
        let verdict = s.end(1, ok(2), after(2)).await.unwrap();
        failed_with(&verdict, Code::DataLoss, reason::PAYLOAD_LOST);
    }
    let s = Subject::new(1, rule(Answer::Merge(true)), HOUR).await;
    let verdict = s.end(0, End::Stored(missing), after(1)).await.unwrap();
    failed_with(&verdict, Code::DataLoss, reason::PAYLOAD_LOST);
}

#[tokio::test]
async fn a_store_that_does_not_answer_decides_nothing() {
    let mut s = Subject::new(1, rule(Answer::Merge(true)), HOUR).await;
    let at = s.payloads.put("t/answers/there", vec![1].into()).await.unwrap();
    s.store_end(0, End::Stored(at), after(1)).await;
    let faulty = Arc::new(Faulty::new(s.payloads.clone()));
    faulty.script([Fault::LoseResponse]);
    s.gathers.payloads = Some(faulty);
    assert!(s.gathers.close(&s.id, Cause::Branch(0), after(2)).await.is_err());
    let verdict = s.close(Cause::Branch(0), after(2)).await.unwrap();
    assert_eq!(response(&verdict), [1]);
}

#[tokio::test]
async fn what_is_too_large_to_be_merged_is_not_even_fetched() {
    let s = Subject::new(2, rule(Answer::Merge(true)), HOUR).await;
    let most = PayloadRef { size: MAX_MERGED_BYTES, ..PayloadRef::default() };
    s.store_end(0, End::Stored(most), after(1)).await;
    let verdict = s.end(1, ok(2), after(2)).await.unwrap();
    failed_with(&verdict, Code::ResourceExhausted, reason::RESPONSE_TOO_LARGE);
}

#[tokio::test]
async fn a_merged_answer_has_the_first_type_that_is_known() {
    let s = Subject::new(3, rule(Answer::Merge(true)), HOUR).await;
    s.store_end(2, End::Typed("a.R"), after(1)).await;
    s.store_end(1, End::Typed("a.R"), after(1)).await;
    let verdict = s.end(0, End::Typed(""), after(2)).await.unwrap();
    assert_eq!(verdict.outcome.as_ref().unwrap().response_type, "a.R");
}

#[tokio::test]
async fn answers_of_several_types_are_not_merged() {
    let s = Subject::new(3, rule(Answer::Merge(true)), HOUR).await;
    s.store_end(0, End::Typed(""), after(1)).await;
    s.store_end(1, End::Typed("a.R"), after(1)).await;
    let verdict = s.end(2, End::Typed("a.Other"), after(2)).await.unwrap();
    failed_with(&verdict, Code::FailedPrecondition, reason::ANSWER_TYPES_DIFFER);
}

#[tokio::test]
async fn a_listed_code_counts_also_when_its_outcome_was_deleted() {
    let s = Subject::new(2, GatherRule { success_codes: vec![0, 5], ..all() }, HOUR).await;
    s.store_end(0, End::Code(Code::NotFound), after(1)).await;
    s.store.add(&s.id, 0, true, after(1)).await.unwrap();
    forget(&s, 0).await;
    let verdict = s.end(1, ok(1), after(2)).await.unwrap();
    assert_eq!(verdict.state, State::Succeeded);
    assert_eq!((report(&verdict).succeeded, report(&verdict).failed), (2, 0));
}

#[tokio::test]
async fn the_verdict_says_what_it_repeats() {
    let s = Subject::new(1, all(), HOUR).await;
    let fresh = Arc::new(MemoryResultStore::new(HOUR));
    let plan = GatherPlan { retry_of: "old".into(), ..s.plan };
    fresh.open(&s.id, &plan, START).await.unwrap();
    let gathers = Gathers::new(fresh, None);
    let verdict = gathers.close(&s.id, Cause::Cancelled, after(1)).await.unwrap().unwrap();
    assert_eq!(verdict.outcome.unwrap().retry_of, "old");
}

/// Objects are there when as many were put as are awaited.
struct Together(Arc<MemoryPayloadStore>, Barrier);

#[async_trait]
impl PayloadStore for Together {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<PayloadRef, PayloadError> {
        let stored = self.0.put(key, bytes).await;
        self.1.wait().await;
        stored
    }

    async fn get(&self, payload: &PayloadRef) -> Result<Bytes, PayloadError> {
        self.0.get(payload).await
    }

    async fn open(&self, payload: &PayloadRef, offset: u64) -> Result<PayloadStream, PayloadError> {
        self.0.open(payload, offset).await
    }

    async fn delete(&self, key: &str) -> Result<(), PayloadError> {
        self.0.delete(key).await
    }
}

/// Only one verdict is written, and nobody knows the keys of the others' answers.
#[tokio::test]
async fn merges_that_come_too_late_leave_nothing_behind() {
    let s = Subject::new(2, rule(Answer::Merge(true)), HOUR).await;
    s.store_end(0, End::Ok(vec![1; 9_000]), after(1)).await;
    s.store_end(1, End::Ok(vec![2; 9_000]), after(1)).await;
    let together = Together(s.payloads.clone(), Barrier::new(8));
    let gathers = Gathers { payloads: Some(Arc::new(together)), ..s.gathers.clone() };
    let close = || gathers.close(&s.id, Cause::Branch(0), after(2));
    let ended = join_all((0..8).map(|_| close())).await;
    let verdicts: Vec<Record> = ended.into_iter().map(|ended| ended.unwrap().unwrap()).collect();
    assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]));
    assert_eq!(s.payloads.object_count(), 1);
    let result = &verdicts[0].outcome.as_ref().unwrap().result;
    let Some(Kind::ResponseRef(at)) = result else { panic!("{result:?}") };
    assert_eq!(s.payloads.get(at).await.unwrap().len(), 18_000);
}

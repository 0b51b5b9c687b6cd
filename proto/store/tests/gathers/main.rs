//! The verdict of a gather: what it is, and that there is one.

mod answers;
mod late;
mod sizes;
mod subject;

use proptest::prelude::*;
use queuebridge_proto::UnixMillis;
use queuebridge_proto::error::reason;
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::gather_rule::Answer;
use queuebridge_proto::v1::outcome::Result as Kind;
use queuebridge_proto::v1::{GatherRule, State};
use queuebridge_store::PayloadStore;
use queuebridge_store::gather::Cause;
use subject::*;
use tonic::Code;

#[tokio::test]
async fn all_lists_every_branch_once_the_last_has_succeeded() {
    let s = Subject::new(3, all(), HOUR).await;
    assert_eq!(s.end(0, ok(1), after(1)).await, None);
    assert_eq!(s.end(2, ok(3), after(2)).await, None);
    let verdict = s.end(1, ok(2), after(3)).await.unwrap();
    assert_eq!((verdict.state, verdict.completed_at), (State::Succeeded, Some(after(3))));
    assert_eq!(states(&verdict), [State::Succeeded; 3]);
    assert_eq!(report(&verdict).decided_by, 2);
    assert_eq!(report(&verdict).plan.as_ref(), Some(&s.plan));
    assert_eq!(verdict.outcome.as_ref().unwrap().response_type, "queuebridge.v1.Gather");
    let second = &report(&verdict).branches[1];
    assert_eq!((second.method.as_str(), second.completed_at), ("", after(3).0));
}

#[tokio::test]
async fn the_first_verdict_stays() {
    let s = Subject::new(2, GatherRule { need: 1, ..all() }, HOUR).await;
    let verdict = s.end(1, ok(2), after(1)).await.unwrap();
    assert_eq!(states(&verdict), [State::Accepted, State::Succeeded]);
    let late = s.end(0, ok(1), after(2)).await.unwrap();
    assert_eq!(late, verdict);
    for cause in [Cause::Branch(0), Cause::Deadline, Cause::Cancelled] {
        let later = s.id.expires_at().plus(CLOCK_SKEW);
        assert_eq!(s.close(cause, later).await.unwrap(), verdict, "{cause:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_met_fails_with_the_first_failure() {
    let s = Subject::new(3, GatherRule { need: 2, ..all() }, HOUR).await;
    assert_eq!(s.end(2, End::Code(Code::NotFound), after(1)).await, None);
    let verdict = s.end(1, End::Code(Code::Internal), after(2)).await.unwrap();
    let (code, why, message) = refusal(&verdict);
    assert_eq!(
        (verdict.state, code, why.as_str()),
        (State::Failed, Code::Internal, reason::GATHER_FAILED)
    );
    assert_eq!(message, "2 of 3 branches failed, and 2 had to succeed; b1: branch 1 says no");
    assert_eq!(states(&verdict), [State::Accepted, State::Failed, State::Failed]);
}

#[tokio::test]
async fn listed_codes_succeed() {
    let s = Subject::new(2, GatherRule { success_codes: vec![0, 5], ..all() }, HOUR).await;
    assert_eq!(s.end(0, End::Code(Code::NotFound), after(1)).await, None);
    let verdict = s.end(1, ok(1), after(2)).await.unwrap();
    assert_eq!(verdict.state, State::Succeeded);
}

#[tokio::test]
async fn the_primary_answer_is_the_answer() {
    let answer = Some(Answer::Primary("b1".into()));
    let s = Subject::new(3, GatherRule { need: 1, answer, ..all() }, HOUR).await;
    assert_eq!(s.end(0, ok(1), after(1)).await, None);
    let verdict = s.end(1, ok(2), after(2)).await.unwrap();
    assert_eq!(response(&verdict), [2]);
    assert_eq!(verdict.outcome.as_ref().unwrap().response_type, "a.R");
    let lost = GatherRule { need: 1, answer: Some(Answer::Primary("b1".into())), ..all() };
    let s = Subject::new(3, lost, HOUR).await;
    assert_eq!(s.end(0, ok(1), after(1)).await, None);
    let verdict = s.end(1, End::Code(Code::Aborted), after(2)).await.unwrap();
    assert_eq!(refusal(&verdict).0, Code::Aborted);
}

#[tokio::test]
async fn merged_answers_follow_each_other_in_the_order_of_the_branches() {
    let answer = Some(Answer::Merge(true));
    let s = Subject::new(3, GatherRule { need: 2, answer, ..all() }, HOUR).await;
    assert_eq!(s.end(2, ok(3), after(1)).await, None);
    assert_eq!(s.end(1, End::Code(Code::Aborted), after(1)).await, None);
    let verdict = s.end(0, ok(1), after(2)).await.unwrap();
    assert_eq!(response(&verdict), [1, 3]);
}

#[tokio::test]
async fn a_large_merged_answer_goes_to_the_payload_store() {
    let answer = Some(Answer::Merge(true));
    let s = Subject::new(2, GatherRule { answer, ..all() }, HOUR).await;
    assert_eq!(s.end(0, End::Ok(vec![1; 9_000]), after(1)).await, None);
    let verdict = s.end(1, End::Ok(vec![2; 9_000]), after(2)).await.unwrap();
    let Some(Kind::ResponseRef(at)) = &verdict.outcome.as_ref().unwrap().result else { panic!() };
    let merged = s.payloads.get(at).await.unwrap();
    assert_eq!(merged.to_vec(), [vec![1; 9_000], vec![2; 9_000]].concat());
}

#[tokio::test]
async fn a_report_that_is_too_large_leaves_the_answers_to_the_branches() {
    let s = Subject::new(3, all(), HOUR).await;
    for branch in 0..2 {
        assert_eq!(s.end(branch, End::Ok(vec![7; 9_000]), after(1)).await, None);
    }
    let verdict = s.end(2, End::Ok(vec![7; 9_000]), after(1)).await.unwrap();
    assert_eq!((verdict.state, states(&verdict).len()), (State::Succeeded, 3));
    for branch in &report(&verdict).branches {
        let Some(Kind::ResponseRef(at)) = &branch.outcome.as_ref().unwrap().result else {
            panic!()
        };
        assert_eq!((at.size, at.key.as_str(), at.sha256.len()), (9_000, "", 32));
    }
}

#[tokio::test]
async fn at_its_deadline_a_gather_expires_and_says_how_far_it_was() {
    let s = Subject::new(3, all(), HOUR * 2).await;
    assert_eq!(s.end(0, ok(1), after(1)).await, None);
    assert_eq!(s.close(Cause::Deadline, s.id.expires_at()).await, None, "clocks differ");
    let verdict = s.close(Cause::Deadline, s.id.expires_at().plus(CLOCK_SKEW)).await.unwrap();
    assert_eq!(refusal(&verdict).1, reason::JOB_EXPIRED);
    assert_eq!((verdict.state, verdict.completed_at), (State::Expired, Some(s.id.expires_at())));
    assert_eq!(states(&verdict), [State::Succeeded, State::Accepted, State::Accepted]);
    assert_eq!(report(&verdict).decided_by, 0);
}

#[tokio::test]
async fn what_there_is_at_the_deadline_is_enough_where_the_rule_says_so() {
    let s = Subject::new(3, GatherRule { partial: true, ..all() }, HOUR * 2).await;
    assert_eq!(s.end(0, End::Code(Code::Aborted), after(1)).await, None);
    assert_eq!(s.end(1, ok(1), after(1)).await, None);
    // Whenever somebody looks, what came in time counts, and no more.
    s.store_end(2, ok(2), s.id.expires_at()).await;
    let verdict = s.close(Cause::Deadline, s.id.expires_at().plus(HOUR / 2)).await.unwrap();
    assert_eq!(verdict.state, State::Succeeded);
}

#[tokio::test]
async fn a_met_rule_is_met_also_when_its_verdict_comes_after_the_deadline() {
    let s = Subject::new(2, all(), HOUR).await;
    let last = UnixMillis(s.id.expires_at().0 - 1);
    s.store_end(0, ok(1), last).await;
    s.store_end(1, ok(2), last).await;
    let verdict = s.close(Cause::Deadline, s.id.expires_at().plus(HOUR / 2)).await.unwrap();
    assert_eq!(verdict.state, State::Succeeded);
}

#[tokio::test]
async fn a_cancelled_gather_says_what_there_was() {
    let s = Subject::new(2, all(), HOUR).await;
    s.end(0, ok(1), after(1)).await;
    let verdict = s.close(Cause::Cancelled, after(2)).await.unwrap();
    assert_eq!((verdict.state, refusal(&verdict).0), (State::Cancelled, Code::Cancelled));
    assert_eq!(states(&verdict), [State::Succeeded, State::Accepted]);
}

#[tokio::test]
async fn without_a_plan_nothing_is_decided() {
    let s = Subject::new(1, all(), HOUR).await;
    let over = s.id.expires_at().plus(HOUR * 50);
    assert_eq!(s.close(Cause::Branch(0), over).await, None);
}

#[derive(Clone, Debug)]
struct Branch {
    end: End,
    at: u64,
}

fn branches() -> impl Strategy<Value = Vec<Branch>> {
    let end = prop_oneof![
        any::<u8>().prop_map(ok),
        Just(End::Code(Code::NotFound)),
        Just(End::Code(Code::Internal)),
    ];
    // Some of them after the deadline of one hour.
    let branch = (end, 1..4_500u64).prop_map(|(end, at)| Branch { end, at });
    prop::collection::vec(branch, 1..8)
}

fn rules() -> impl Strategy<Value = GatherRule> {
    let codes = prop_oneof![Just(vec![]), Just(vec![0, 5])];
    (0..8u32, any::<bool>(), codes).prop_map(|(need, partial, success_codes)| GatherRule {
        need,
        partial,
        success_codes,
        ..GatherRule::default()
    })
}

proptest! {
    /// Whether every branch that ends leads to a look, or nobody looks before the end
    /// of everything: the verdict is the same state, and it is the right one.
    #[test]
    fn the_verdict_does_not_depend_on_who_finds_it(branches in branches(), rule in rules()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let total = u32::try_from(branches.len()).unwrap();
            let rule = GatherRule { need: rule.need.min(total), ..rule };
            let eager = Subject::new(branches.len(), rule.clone(), HOUR * 2).await;
            let lazy = Subject::new(branches.len(), rule.clone(), HOUR * 2).await;
            let mut order: Vec<usize> = (0..branches.len()).collect();
            order.sort_by_key(|index| branches[*index].at);
            let late = START.plus(HOUR * 2);
            for index in order {
                let Branch { end, at } = branches[index].clone();
                eager.end(index, end.clone(), after(at)).await;
                lazy.store_end(index, end, after(at)).await;
            }
            let first = eager.close(Cause::Deadline, late).await.unwrap();
            let second = lazy.close(Cause::Deadline, late).await.unwrap();
            let in_time = |want: bool| branches.iter().filter(|b| b.at < 3_600).filter(|b| match &b.end {
                End::Ok(_) | End::Typed(_) => want,
                End::Code(Code::NotFound) => want != rule.success_codes.is_empty(),
                End::Stored(_) | End::Code(_) => !want,
            }).count();
            let (good, bad) = (in_time(true), in_time(false));
            let need = if rule.need == 0 { branches.len() } else { rule.need as usize };
            let expected = if good >= need || rule.partial {
                State::Succeeded
            } else if bad > branches.len() - need {
                State::Failed
            } else {
                State::Expired
            };
            // In the report of a late look only what came in time has ended.
            let report = report(&second);
            prop_assert_eq!((report.succeeded as usize, report.failed as usize), (good, bad));
            let ended = report.branches.iter().filter(|branch| branch.completed_at > 0);
            prop_assert_eq!(ended.count(), good + bad);
            // An eager look may have found it met before a failure, or the other way
            // round; both can never be true of one set of branches.
            prop_assert_eq!((first.state, second.state), (expected, expected));
            prop_assert_eq!(states(&first).len(), branches.len());
            Ok(())
        })?;
    }
}

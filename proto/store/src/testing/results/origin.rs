//! What is known of the beginning of a job, and who may say it.

use super::*;
use queuebridge_proto::v1::callback::Target;
use queuebridge_proto::v1::{Callback, Membership};

fn origin(name: &str) -> Origin {
    let target = Some(Target::WebhookUrl(format!("https://{name}.example/hook")));
    let membership = Membership { branch: name.to_owned(), index: 3, ..Membership::default() };
    Origin {
        callback: Some(Callback { target }),
        membership: Some(Box::new(membership)),
        request_key: format!("suite/requests/{name}"),
        ..Origin::default()
    }
}

fn request(lease: u64, origin: Origin) -> ClaimRequest<'static> {
    ClaimRequest::new(METHOD, Token::random(), at(lease), Lapsed::Take).with_origin(origin)
}

/// A job that runs from time 0 to 1000, begun by a message that said `first`.
async fn begun(s: &Subject) -> JobId {
    let job = job();
    let claimed = s.claim_as(&job, request(1000, origin("first")), 0).await;
    let origin = Some(origin("first"));
    assert_eq!(claimed, Claimed { claim: Claim::Granted { attempt: 1 }, origin, took_over: false });
    job
}

pub(super) async fn the_first_claim_says_how_the_job_began(s: Subject) {
    let job = begun(&s).await;
    assert_eq!(s.get(&job, 1).await.origin, Some(origin("first")));
}

pub(super) async fn a_later_copy_says_nothing_about_it(s: Subject) {
    let job = begun(&s).await;
    for (attempt, now) in [(2, 1000), (3, 2000)] {
        let claimed = s.claim_as(&job, request(now + 1000, origin("other")), now).await;
        let origin = Some(origin("first"));
        assert_eq!(claimed, Claimed { claim: Claim::Granted { attempt }, origin, took_over: true });
    }
    assert_eq!(s.get(&job, 2001).await.origin, Some(origin("first")));
}

pub(super) async fn every_answer_to_a_claim_tells_it(s: Subject) {
    let told = |claim| Claimed { claim, origin: Some(origin("first")), took_over: false };
    let running = begun(&s).await;
    let held = s.claim_as(&running, request(2000, origin("other")), 1).await;
    assert_eq!(held, told(Claim::HeldUntil(at(1000))));
    let leave = ClaimRequest { lapsed: Lapsed::Leave, ..request(2000, origin("other")) };
    assert_eq!(s.claim_as(&running, leave, 1000).await, told(Claim::Lapsed));
    let mine = request(1000, origin("first"));
    let repeated = job();
    for _ in 0..2 {
        let claimed = s.claim_as(&repeated, mine.clone(), 0).await;
        assert_eq!(claimed, told(Claim::Granted { attempt: 1 }));
    }
    s.complete(&running, Author::Unclaimed, State::Failed, 1000).await;
    let finished = s.claim_as(&running, request(2000, origin("other")), 1001).await;
    assert_eq!(finished, told(Claim::Finished));
    let cancelled = begun(&s).await;
    assert_eq!(s.cancel(&cancelled, 1000).await, Cancelled::BeforeStart);
    let answer = s.claim_as(&cancelled, request(2000, origin("other")), 1001).await;
    assert_eq!(answer, told(Claim::Cancelled));
}

pub(super) async fn a_job_that_began_with_nothing_is_not_given_something_later(s: Subject) {
    let (job, _) = s.running().await;
    let claimed = s.claim_as(&job, request(2000, origin("other")), 1000).await;
    assert_eq!(claimed.claim, Claim::Granted { attempt: 2 });
    assert_eq!(claimed.origin, Some(Origin::default()));
}

pub(super) async fn an_end_without_a_claim_says_it(s: Subject) {
    let job = job();
    let end = End { origin: Some(origin("first")), ..End::new(State::Succeeded, outcome("")) };
    let done = s.store.complete(&job, METHOD, Author::Unclaimed, end, at(1)).await.unwrap();
    assert_eq!(done, Completed::Stored);
    assert_eq!(s.get(&job, 2).await.origin, Some(origin("first")));
}

pub(super) async fn an_end_changes_nothing_that_a_claim_has_said(s: Subject) {
    let job = begun(&s).await;
    let end = End { origin: Some(origin("other")), ..End::new(State::Failed, outcome("")) };
    let done = s.store.complete(&job, METHOD, Author::Unclaimed, end, at(1000)).await.unwrap();
    assert_eq!(done, Completed::Stored);
    assert_eq!(s.get(&job, 1001).await.origin, Some(origin("first")));
}

pub(super) async fn it_stays_with_the_tombstone(s: Subject) {
    let job = begun(&s).await;
    s.complete(&job, Author::Unclaimed, State::Succeeded, 1000).await;
    assert_eq!(s.store.delete(&job, at(1001)).await.unwrap(), Deleted::Deleted);
    assert_eq!(s.get(&job, 1002).await.origin, Some(origin("first")));
    let purged = at(1000).plus(RETENTION);
    let record = s.find(&job, purged).await.unwrap();
    assert_eq!((record.outcome, record.origin), (None, Some(origin("first"))));
}

pub(super) async fn without_a_claim_there_is_none(s: Subject) {
    let job = s.finished(State::Succeeded).await;
    assert_eq!(s.get(&job, 2).await.origin, None);
    let claimed = s.claim_as(&job, request(2000, origin("late")), 2).await;
    assert_eq!(claimed, Claimed { claim: Claim::Finished, origin: None, took_over: false });
    assert_eq!(s.get(&job, 3).await.origin, None);
}

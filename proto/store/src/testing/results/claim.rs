//! Who may run a job.

use super::*;

pub(super) async fn the_first_claim_is_attempt_one(s: Subject) {
    let (job, token) = s.running().await;
    let record = s.get(&job, 1).await;
    let expected = Record {
        state: State::Running,
        attempt: 1,
        token: Some(token),
        lease_until: at(1000),
        started_at: Some(at(0)),
        origin: Some(Origin::default()),
        ..Record::new(METHOD)
    };
    assert_eq!(record, expected);
}

pub(super) async fn a_repeat_is_the_same_attempt_with_the_new_lease(s: Subject) {
    let (job, token) = s.running().await;
    assert_eq!(s.claim(&job, token, 2000, 500).await, Claim::Granted { attempt: 1 });
    let record = s.get(&job, 501).await;
    assert_eq!((record.attempt, record.lease_until), (1, at(2000)));
    assert_eq!(record.started_at, Some(at(0)));
}

pub(super) async fn a_live_lease_keeps_others_out_until_its_last_millisecond(s: Subject) {
    let (job, _) = s.running().await;
    let other = Token::random();
    assert_eq!(s.claim(&job, other, 2000, 0).await, Claim::HeldUntil(at(1000)));
    assert_eq!(s.claim(&job, other, 2000, 999).await, Claim::HeldUntil(at(1000)));
    assert_eq!(s.claim(&job, other, 2000, 1000).await, Claim::Granted { attempt: 2 });
    let record = s.get(&job, 1001).await;
    assert!(record.took_over);
    assert_eq!((record.token, record.lease_until), (Some(other), at(2000)));
    assert_eq!(record.started_at, Some(at(1000)));
}

pub(super) async fn a_repeat_after_the_lapse_is_still_the_same_attempt(s: Subject) {
    let (job, token) = s.running().await;
    assert_eq!(s.claim(&job, token, 3000, 2000).await, Claim::Granted { attempt: 1 });
    assert_eq!(s.claim(&job, Token::random(), 4000, 2999).await, Claim::HeldUntil(at(3000)));
}

pub(super) async fn a_released_claim_is_granted_at_once(s: Subject) {
    let (job, _) = s.released().await;
    assert_eq!(s.claim(&job, Token::random(), 2000, 1).await, Claim::Granted { attempt: 2 });
    assert!(!s.get(&job, 2).await.took_over);
}

pub(super) async fn a_finished_job_is_not_granted(s: Subject) {
    for state in [State::Succeeded, State::Failed] {
        let job = s.finished(state).await;
        let before = s.get(&job, 2).await;
        assert_eq!(s.claim(&job, Token::random(), 2000, 2).await, Claim::Finished);
        assert_eq!(s.get(&job, 3).await, before);
    }
    let job = job();
    assert_eq!(s.complete(&job, Author::Expiry, State::Expired, over()).await, Completed::Stored);
    let late = s.claim(&job, Token::random(), over() + 1000, over()).await;
    assert_eq!(late, Claim::Finished);
}

pub(super) async fn a_cancelled_job_says_so(s: Subject) {
    let job = s.finished(State::Cancelled).await;
    assert_eq!(s.claim(&job, Token::random(), 2000, 2).await, Claim::Cancelled);
}

pub(super) async fn a_lapsed_claim_can_be_left_as_it_is(s: Subject) {
    let (job, _) = s.running().await;
    let other = Token::random();
    assert_eq!(s.claim_unheld(&job, other, 2000, 999).await, Claim::HeldUntil(at(1000)));
    let before = s.get(&job, 1000).await;
    assert_eq!(s.claim_unheld(&job, other, 2000, 1000).await, Claim::Lapsed);
    assert_eq!(s.get(&job, 1001).await, before);
    assert_eq!(s.claim(&job, other, 2000, 1001).await, Claim::Granted { attempt: 2 });
}

pub(super) async fn without_a_lapse_it_makes_no_difference(s: Subject) {
    let (job, token) = (job(), Token::random());
    assert_eq!(s.claim_unheld(&job, token, 1000, 0).await, Claim::Granted { attempt: 1 });
    assert_eq!(s.claim_unheld(&job, token, 3000, 2000).await, Claim::Granted { attempt: 1 });
    let (job, _) = s.released().await;
    let next = s.claim_unheld(&job, Token::random(), 2000, 1).await;
    assert_eq!(next, Claim::Granted { attempt: 2 });
}

pub(super) async fn the_method_is_learned_once(s: Subject) {
    let job = job();
    let (first, second) = (Token::random(), Token::random());
    let claim = |method, token, lease| ClaimRequest::new(method, token, at(lease), Lapsed::Take);
    s.claim_as(&job, claim("", first, 10), 0).await;
    assert_eq!(s.get(&job, 1).await.method, "");
    s.claim_as(&job, claim(METHOD, second, 20), 10).await;
    assert_eq!(s.get(&job, 11).await.method, METHOD);
    s.claim_as(&job, claim("/other.Service/Method", first, 30), 20).await;
    assert_eq!(s.get(&job, 21).await.method, METHOD);
}

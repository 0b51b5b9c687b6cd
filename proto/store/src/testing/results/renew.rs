//! Holding and giving up a claim.

use super::*;
use queuebridge_proto::v1::Progress;

const HELD: Renewed = Renewed::Held { cancel_requested: false };

pub(super) async fn a_renewed_lease_keeps_others_out_longer(s: Subject) {
    let (job, token) = s.running().await;
    assert_eq!(s.renew(&job, token, Lease::Until(at(2000)), 900).await, HELD);
    assert_eq!(s.claim(&job, Token::random(), 3000, 1999).await, Claim::HeldUntil(at(2000)));
    assert_eq!(s.claim(&job, Token::random(), 3000, 2000).await, Claim::Granted { attempt: 2 });
}

pub(super) async fn progress_is_stored_and_kept(s: Subject) {
    let (job, token) = s.running().await;
    let progress = Some(Progress {
        fraction: 0.5,
        message: "half".into(),
        update_time: Some(at(3).to_proto()),
        partial_result: Bytes::from_static(b"so far"),
        ..Progress::default()
    });
    let lease = Lease::Until(at(2000));
    let renewed = s.store.renew(&job, token, lease, progress.clone(), at(3)).await;
    assert_eq!(renewed.unwrap(), HELD);
    assert_eq!(s.get(&job, 4).await.progress, progress);
    assert_eq!(s.renew(&job, token, lease, 5).await, HELD);
    assert_eq!(s.get(&job, 6).await.progress, progress);
}

pub(super) async fn a_release_gives_the_claim_up_and_keeps_the_count(s: Subject) {
    let (job, token) = s.released().await;
    let record = s.get(&job, 2).await;
    assert_eq!((record.state, record.token, record.attempt), (State::Accepted, None, 1));
    assert_eq!(s.renew(&job, token, Lease::Release, 2).await, Renewed::Lost);
    assert_eq!(s.renew(&job, token, Lease::Until(at(2000)), 2).await, Renewed::Lost);
}

pub(super) async fn a_return_does_not_count(s: Subject) {
    let (job, token) = s.running().await;
    assert_eq!(s.renew(&job, token, Lease::Return, 1).await, HELD);
    let record = s.get(&job, 2).await;
    assert_eq!((record.state, record.token, record.attempt), (State::Accepted, None, 0));
    assert_eq!(s.renew(&job, token, Lease::Return, 2).await, Renewed::Lost);
    assert_eq!(s.claim(&job, Token::random(), 2000, 3).await, Claim::Granted { attempt: 1 });
}

pub(super) async fn a_lapsed_lease_that_nobody_took_can_be_renewed(s: Subject) {
    let (job, token) = s.running().await;
    assert_eq!(s.renew(&job, token, Lease::Until(at(3000)), 2000).await, HELD);
    assert_eq!(s.claim(&job, Token::random(), 4000, 2000).await, Claim::HeldUntil(at(3000)));
}

pub(super) async fn a_claim_that_was_taken_over_is_lost(s: Subject) {
    let (job, first) = s.running().await;
    let second = Token::random();
    assert_eq!(s.claim(&job, second, 2000, 1000).await, Claim::Granted { attempt: 2 });
    let before = s.get(&job, 1001).await;
    assert_eq!(s.renew(&job, first, Lease::Until(at(5000)), 1001).await, Renewed::Lost);
    assert_eq!(s.renew(&job, first, Lease::Release, 1001).await, Renewed::Lost);
    assert_eq!(s.get(&job, 1001).await, before);
}

pub(super) async fn without_a_record_there_is_nothing_to_renew(s: Subject) {
    let job = job();
    assert_eq!(s.renew(&job, Token::random(), Lease::Until(at(10)), 0).await, Renewed::Lost);
    assert_eq!(s.find(&job, at(1)).await, None);
}

pub(super) async fn a_finished_job_cannot_be_renewed(s: Subject) {
    let (job, token) = s.running().await;
    let stored = s.complete(&job, Author::Claim(token), State::Succeeded, 1).await;
    assert_eq!(stored, Completed::Stored);
    assert_eq!(s.renew(&job, token, Lease::Until(at(2000)), 2).await, Renewed::Lost);
    assert_eq!(s.renew(&job, token, Lease::Release, 2).await, Renewed::Lost);
    assert_eq!(s.get(&job, 3).await.state, State::Succeeded);
}

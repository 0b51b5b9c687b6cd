//! What a reader finds, and how long.

use super::*;

pub(super) async fn an_untouched_job_has_no_record(s: Subject) {
    assert_eq!(s.find(&job(), at(0)).await, None);
}

pub(super) async fn a_result_is_read_until_its_retention_is_over(s: Subject) {
    let job = s.finished(State::Succeeded).await;
    let purge = at(1).plus(RETENTION);
    let record = s.find(&job, before(purge)).await.unwrap();
    assert!(record.outcome.is_some());
    let purged = s.find(&job, purge).await.unwrap();
    assert_eq!(purged, Record { outcome: None, ..record });
}

pub(super) async fn a_tombstone_ends_when_no_copy_survives(s: Subject) {
    let job = s.finished(State::Succeeded).await;
    let end = at(1).plus(RETENTION).plus(s.copies_survive);
    assert_eq!(s.find(&job, before(end)).await.unwrap().state, State::Succeeded);
    assert_eq!(s.find(&job, end).await, None);
}

pub(super) async fn an_early_end_keeps_the_tombstone_past_the_expiry(s: Subject) {
    let claims = Claims {
        uuid: job().uuid(),
        tenant: "suite",
        method: METHOD,
        expires_at: EXPIRES,
        retention: Duration::from_secs(1),
        at_least_once: false,
        reply_shard: None,
    };
    let job = JobId::mint(&claims, &Keyring::single(&[7; 32]));
    assert_eq!(s.cancel(&job, 1).await, Cancelled::BeforeStart);
    assert_eq!(s.get(&job, 1000).await.purge_at(&job), Some(at(1001)));
    assert!(s.get(&job, 1000).await.outcome.is_some());
    assert_eq!(s.get(&job, 1001).await.outcome, None);
    let end = EXPIRES.plus(s.copies_survive);
    // A copy of the message that turns up now is still refused.
    let late = ClaimRequest::new(METHOD, Token::random(), end, Lapsed::Take);
    let late = s.store.claim(&job, late, before(end)).await.unwrap();
    assert_eq!(late.claim, Claim::Cancelled);
    assert_eq!(s.find(&job, before(end)).await.unwrap().state, State::Cancelled);
    assert_eq!(s.find(&job, end).await, None);
}

pub(super) async fn an_unfinished_record_rests_as_long_as_any(s: Subject) {
    let (job, _) = s.running().await;
    let end = EXPIRES.plus(RETENTION).plus(s.copies_survive);
    assert_eq!(s.find(&job, before(end)).await.unwrap().state, State::Running);
    assert_eq!(s.find(&job, end).await, None);
}

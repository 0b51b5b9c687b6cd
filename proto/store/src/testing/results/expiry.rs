//! The work expiry, at its boundaries.

use super::*;
use queuebridge_proto::outcome::expired;

const EXPIRY: u64 = EXPIRES.0 - SUBMITTED.0;

pub(super) async fn nobody_expires_a_job_before_the_skew_is_over(s: Subject) {
    let job = job();
    let early = s.complete(&job, Author::Expiry, State::Expired, over() - 1).await;
    assert_eq!(early, Completed::Lost);
    assert_eq!(s.find(&job, at(over())).await, None);
}

pub(super) async fn an_expiry_ends_a_job_that_nobody_took(s: Subject) {
    let job = job();
    assert_eq!(s.complete(&job, Author::Expiry, State::Expired, over()).await, Completed::Stored);
    let record = s.get(&job, over()).await;
    assert_eq!((record.state, record.attempt), (State::Expired, 0));
    // Whoever notices it and when: a job expires at its expiry.
    assert_eq!(record.completed_at, Some(EXPIRES));
}

pub(super) async fn an_expiry_ends_a_running_job(s: Subject) {
    let (job, token) = (job(), Token::random());
    let far = over() + 10_000;
    assert_eq!(s.claim(&job, token, far, EXPIRY - 1).await, Claim::Granted { attempt: 1 });
    let stored = s.complete(&job, Author::Expiry, State::Expired, over() + 5).await;
    assert_eq!(stored, Completed::Stored);
    let late = s.complete(&job, Author::Claim(token), State::Succeeded, over() + 6).await;
    assert_eq!(late, Completed::AlreadyFinished);
    let record = s.get(&job, over() + 7).await;
    assert_eq!((record.state, record.completed_at), (State::Expired, Some(EXPIRES)));
}

pub(super) async fn an_expiry_ends_in_no_other_state(s: Subject) {
    let job = job();
    for state in [State::Succeeded, State::Failed, State::Cancelled] {
        let refused = s.complete(&job, Author::Expiry, state, over()).await;
        assert_eq!(refused, Completed::Lost);
    }
    assert_eq!(s.find(&job, at(over())).await, None);
}

pub(super) async fn the_holder_may_expire_its_job_from_the_expiry_on(s: Subject) {
    let (job, token) = (job(), Token::random());
    assert_eq!(s.claim(&job, token, over(), 0).await, Claim::Granted { attempt: 1 });
    let author = Author::Claim(token);
    let early = s.complete(&job, author, State::Expired, EXPIRY - 1).await;
    assert_eq!(early, Completed::Lost);
    assert_eq!(s.get(&job, EXPIRY - 1).await.state, State::Running);
    assert_eq!(s.complete(&job, author, State::Expired, EXPIRY).await, Completed::Stored);
    assert_eq!(s.get(&job, EXPIRY).await.completed_at, Some(EXPIRES));
}

pub(super) async fn without_a_claim_a_job_is_expired_from_the_expiry_on(s: Subject) {
    let free = job();
    let early = s.complete(&free, Author::Unclaimed, State::Expired, EXPIRY - 1).await;
    assert_eq!(early, Completed::Lost);
    assert_eq!(s.find(&free, at(EXPIRY)).await, None);
    let stored = s.complete(&free, Author::Unclaimed, State::Expired, EXPIRY).await;
    assert_eq!(stored, Completed::Stored);

    let held = job();
    s.claim(&held, Token::random(), EXPIRY + 1, 0).await;
    let live = s.complete(&held, Author::Unclaimed, State::Expired, EXPIRY).await;
    assert_eq!(live, Completed::Lost);
    let stored = s.complete(&held, Author::Unclaimed, State::Expired, EXPIRY + 1).await;
    assert_eq!(stored, Completed::Stored);
}

pub(super) async fn a_result_is_taken_until_the_skew_is_over(s: Subject) {
    let (job, token) = s.running().await;
    let author = Author::Claim(token);
    let late = s.complete(&job, author, State::Succeeded, over() + 1).await;
    assert_eq!(late, Completed::PastExpiry);
    assert_eq!(s.get(&job, over() + 1).await.state, State::Running);
    assert_eq!(s.complete(&job, author, State::Succeeded, over()).await, Completed::Stored);
    assert_eq!(s.get(&job, over()).await.completed_at, Some(at(over())));

    let untouched = super::job();
    let late = s.complete(&untouched, Author::Unclaimed, State::Failed, over() + 1).await;
    assert_eq!(late, Completed::PastExpiry);
    assert_eq!(s.find(&untouched, at(over() + 1)).await, None);
}

pub(super) async fn a_finished_job_says_so_also_past_its_expiry(s: Subject) {
    let job = s.finished(State::Succeeded).await;
    for author in [Author::Unclaimed, Author::Claim(Token::random())] {
        let repeat = s.complete(&job, author, State::Failed, over() + 1).await;
        assert_eq!(repeat, Completed::AlreadyFinished);
    }
    let early = s.complete(&job, Author::Expiry, State::Expired, 2).await;
    assert_eq!(early, Completed::AlreadyFinished);
}

pub(super) async fn a_cancellation_past_the_expiry_expires_the_job(s: Subject) {
    let untouched = job();
    assert_eq!(s.cancel(&untouched, over()).await, Cancelled::BeforeStart);

    let untouched = job();
    assert_eq!(s.cancel(&untouched, over() + 1).await, Cancelled::AlreadyFinished);
    let record = s.get(&untouched, over() + 1).await;
    assert_eq!((record.state, record.outcome), (State::Expired, Some(expired())));
    assert_eq!(record.completed_at, Some(EXPIRES));
}

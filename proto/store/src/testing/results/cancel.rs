//! Cancellation before the start and after it.

use super::*;
use queuebridge_proto::outcome::cancelled;

pub(super) async fn a_job_that_nobody_took_never_runs(s: Subject) {
    let job = job();
    assert_eq!(s.cancel(&job, 1).await, Cancelled::BeforeStart);
    let expected = Record {
        state: State::Cancelled,
        completed_at: Some(at(1)),
        outcome: Some(cancelled()),
        ..Record::new("")
    };
    assert_eq!(s.get(&job, 2).await, expected);
    assert_eq!(s.claim(&job, Token::random(), 1000, 2).await, Claim::Cancelled);
    let late = s.complete(&job, Author::Unclaimed, State::Succeeded, 3).await;
    assert_eq!(late, Completed::AlreadyFinished);
}

pub(super) async fn a_released_job_never_runs_again(s: Subject) {
    let (job, _) = s.released().await;
    assert_eq!(s.cancel(&job, 2).await, Cancelled::BeforeStart);
    let record = s.get(&job, 3).await;
    assert_eq!((record.state, record.method.as_str()), (State::Cancelled, METHOD));
    assert_eq!(s.claim(&job, Token::random(), 1000, 3).await, Claim::Cancelled);
}

pub(super) async fn a_lapsed_job_never_runs_again(s: Subject) {
    let (job, token) = s.running().await;
    assert_eq!(s.cancel(&job, 1000).await, Cancelled::BeforeStart);
    assert_eq!(s.claim(&job, Token::random(), 3000, 1001).await, Claim::Cancelled);
    assert_eq!(s.claim(&job, token, 3000, 1001).await, Claim::Cancelled);
    let late = s.complete(&job, Author::Claim(token), State::Succeeded, 1002).await;
    assert_eq!(late, Completed::AlreadyFinished);
}

pub(super) async fn a_running_job_is_told(s: Subject) {
    let (job, token) = s.running().await;
    assert_eq!(s.cancel(&job, 999).await, Cancelled::Requested);
    assert_eq!(s.cancel(&job, 999).await, Cancelled::Requested);
    let record = s.get(&job, 999).await;
    assert_eq!((record.state, record.cancel_requested), (State::Running, true));
    let renewed = s.renew(&job, token, Lease::Until(at(2000)), 999).await;
    assert_eq!(renewed, Renewed::Held { cancel_requested: true });
    // A handler may have been too far to give way.
    let stored = s.complete(&job, Author::Claim(token), State::Succeeded, 1000).await;
    assert_eq!(stored, Completed::Stored);
}

pub(super) async fn the_wish_outlives_the_attempt(s: Subject) {
    let (job, token) = s.running().await;
    assert_eq!(s.cancel(&job, 1).await, Cancelled::Requested);
    let told = Renewed::Held { cancel_requested: true };
    assert_eq!(s.renew(&job, token, Lease::Release, 2).await, told);
    let second = Token::random();
    assert_eq!(s.claim(&job, second, 1000, 3).await, Claim::Granted { attempt: 2 });
    assert_eq!(s.renew(&job, second, Lease::Until(at(1000)), 4).await, told);
}

pub(super) async fn a_finished_job_is_not_cancelled(s: Subject) {
    for state in [State::Succeeded, State::Failed, State::Cancelled] {
        let job = s.finished(state).await;
        let before = s.get(&job, 2).await;
        assert_eq!(s.cancel(&job, 2).await, Cancelled::AlreadyFinished);
        assert_eq!(s.get(&job, 3).await, before);
    }
}

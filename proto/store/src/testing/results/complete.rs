//! How a job ends, once.

use super::*;

pub(super) async fn the_holder_finishes_in_every_terminal_state(s: Subject) {
    for state in [State::Succeeded, State::Failed, State::Cancelled] {
        let (job, token) = s.running().await;
        assert_eq!(s.complete(&job, Author::Claim(token), state, 5).await, Completed::Stored);
        let record = s.get(&job, 6).await;
        assert_eq!((record.state, record.token, record.attempt), (state, None, 1));
        assert_eq!((record.started_at, record.completed_at), (Some(at(0)), Some(at(5))));
        assert_eq!(record.outcome, Some(outcome(state.as_str_name())));
    }
}

pub(super) async fn the_holder_finishes_after_its_lease_lapsed(s: Subject) {
    let (job, token) = s.running().await;
    let stored = s.complete(&job, Author::Claim(token), State::Succeeded, 5000).await;
    assert_eq!(stored, Completed::Stored);
}

pub(super) async fn a_late_attempt_does_not_overwrite(s: Subject) {
    let (job, first) = s.running().await;
    let second = Token::random();
    assert_eq!(s.claim(&job, second, 2000, 1000).await, Claim::Granted { attempt: 2 });
    let late = s.complete(&job, Author::Claim(first), State::Failed, 1001).await;
    assert_eq!(late, Completed::Lost);
    assert_eq!(s.get(&job, 1002).await.state, State::Running);
    let stored = s.complete(&job, Author::Claim(second), State::Succeeded, 1003).await;
    assert_eq!(stored, Completed::Stored);
    let late = s.complete(&job, Author::Claim(first), State::Failed, 1004).await;
    assert_eq!(late, Completed::AlreadyFinished);
    assert_eq!(s.get(&job, 1005).await.state, State::Succeeded);
}

pub(super) async fn a_claim_that_was_never_granted_finishes_nothing(s: Subject) {
    let job = job();
    let author = Author::Claim(Token::random());
    assert_eq!(s.complete(&job, author, State::Succeeded, 1).await, Completed::Lost);
    assert_eq!(s.find(&job, at(2)).await, None);
}

pub(super) async fn a_released_claim_finishes_nothing(s: Subject) {
    let (job, token) = s.released().await;
    let late = s.complete(&job, Author::Claim(token), State::Succeeded, 2).await;
    assert_eq!(late, Completed::Lost);
    assert_eq!(s.get(&job, 3).await.state, State::Accepted);
}

pub(super) async fn without_a_claim_a_job_is_finished_once(s: Subject) {
    let job = s.finished(State::Failed).await;
    let record = s.get(&job, 2).await;
    let expected = Record {
        state: State::Failed,
        completed_at: Some(at(1)),
        outcome: Some(outcome(State::Failed.as_str_name())),
        ..Record::new(METHOD)
    };
    assert_eq!(record, expected);
}

pub(super) async fn without_a_claim_a_live_lease_is_respected(s: Subject) {
    let (job, _) = s.running().await;
    let early = s.complete(&job, Author::Unclaimed, State::Failed, 999).await;
    assert_eq!(early, Completed::Lost);
    assert_eq!(s.get(&job, 999).await.state, State::Running);
    let stored = s.complete(&job, Author::Unclaimed, State::Failed, 1000).await;
    assert_eq!(stored, Completed::Stored);

    let (job, _) = s.released().await;
    let stored = s.complete(&job, Author::Unclaimed, State::Failed, 2).await;
    assert_eq!(stored, Completed::Stored);
}

pub(super) async fn the_first_end_stays(s: Subject) {
    let (job, token) = s.running().await;
    let author = Author::Claim(token);
    assert_eq!(s.complete(&job, author, State::Succeeded, 1).await, Completed::Stored);
    let before = s.get(&job, 2).await;
    for author in [author, Author::Claim(Token::random()), Author::Unclaimed] {
        for state in [State::Succeeded, State::Failed, State::Cancelled] {
            let repeat = s.complete(&job, author, state, 2).await;
            assert_eq!(repeat, Completed::AlreadyFinished);
        }
    }
    let expiry = s.complete(&job, Author::Expiry, State::Expired, over()).await;
    assert_eq!(expiry, Completed::AlreadyFinished);
    assert_eq!(s.get(&job, over()).await, before);
}

pub(super) async fn the_known_method_is_kept(s: Subject) {
    let (job, token) = s.running().await;
    let (author, end) = (Author::Claim(token), outcome("end"));
    let stored = s.store.complete(&job, "", author, End::new(State::Failed, end), at(1)).await;
    assert_eq!(stored.unwrap(), Completed::Stored);
    assert_eq!(s.get(&job, 2).await.method, METHOD);
}

pub(super) async fn only_terminal_states_are_taken(s: Subject) {
    for state in [State::Unspecified, State::Accepted, State::Running] {
        let (job, token) = s.running().await;
        let before = s.get(&job, 1).await;
        let author = Author::Claim(token);
        let end = End::new(state, outcome("x"));
        let refused = s.store.complete(&job, METHOD, author, end, at(1)).await;
        assert!(refused.is_err());
        assert_eq!(s.get(&job, 2).await, before);
    }
}

//! What remains of a deleted result.

use super::*;

pub(super) async fn a_deleted_result_is_gone_and_its_tombstone_stays(s: Subject) {
    for state in [State::Succeeded, State::Failed, State::Cancelled] {
        let job = s.finished(state).await;
        assert_eq!(s.store.delete(&job, at(2)).await.unwrap(), Deleted::Deleted);
        let record = s.get(&job, 3).await;
        assert_eq!((record.state, record.outcome), (state, None));
        assert_eq!(record.completed_at, Some(at(1)));
        // A late copy of the message is not run.
        assert!(matches!(
            s.claim(&job, Token::random(), 1000, 3).await,
            Claim::Finished | Claim::Cancelled
        ));
        let late = s.complete(&job, Author::Unclaimed, State::Succeeded, 3).await;
        assert_eq!(late, Completed::AlreadyFinished);
        assert_eq!(s.get(&job, 4).await.outcome, None);
    }
}

pub(super) async fn what_is_not_finished_is_not_deleted(s: Subject) {
    let unknown = job();
    assert_eq!(s.store.delete(&unknown, at(1)).await.unwrap(), Deleted::NotFinished);
    assert_eq!(s.find(&unknown, at(1)).await, None);
    let (running, token) = s.running().await;
    let before = s.get(&running, 1).await;
    assert_eq!(s.store.delete(&running, at(1)).await.unwrap(), Deleted::NotFinished);
    assert_eq!(s.get(&running, 1).await, before);
    let stored = s.complete(&running, Author::Claim(token), State::Succeeded, 2).await;
    assert_eq!(stored, Completed::Stored);
    assert!(s.get(&running, 3).await.outcome.is_some());
}

pub(super) async fn a_deletion_can_be_repeated(s: Subject) {
    let job = s.finished(State::Succeeded).await;
    for _ in 0..2 {
        assert_eq!(s.store.delete(&job, at(2)).await.unwrap(), Deleted::Deleted);
    }
}

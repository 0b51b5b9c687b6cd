//! Calls that are repeated because nobody knows whether they took effect.

use super::accept::key;
use super::*;
use crate::testing::{Fault, Faulty};

/// The same store, behind a connection that loses the response of the first call.
fn deaf(s: &Subject, fault: Fault) -> (Subject, Arc<Faulty<dyn ResultStore>>) {
    let faulty = Arc::new(Faulty::new(s.store.clone()));
    faulty.script([fault]);
    (Subject { store: faulty.clone(), ..s.clone() }, faulty)
}

pub(super) async fn a_claim_with_a_lost_response_is_granted_again(s: Subject) {
    let (s, line) = deaf(&s, Fault::LoseResponse);
    let (job, token) = (job(), Token::random());
    let request = ClaimRequest::new(METHOD, token, at(1000), Lapsed::Take);
    assert!(s.store.claim(&job, request, at(0)).await.is_err());
    assert_eq!(s.claim(&job, token, 1000, 10).await, Claim::Granted { attempt: 1 });
    assert_eq!(s.get(&job, 11).await.attempt, 1);
    assert_eq!(line.calls(), 3);
}

pub(super) async fn a_completion_with_a_lost_response_is_stored_once(s: Subject) {
    let (job, token) = s.running().await;
    let (s, _) = deaf(&s, Fault::LoseResponse);
    let author = Author::Claim(token);
    let end = |text| End::new(State::Succeeded, outcome(text));
    let first = s.store.complete(&job, METHOD, author, end("1"), at(1)).await;
    assert!(first.is_err());
    let again = s.store.complete(&job, METHOD, author, end("2"), at(2)).await;
    assert_eq!(again.unwrap(), Completed::AlreadyFinished);
    let record = s.get(&job, 3).await;
    assert_eq!((record.outcome, record.completed_at), (Some(outcome("1")), Some(at(1))));
}

pub(super) async fn a_submission_with_a_lost_response_owns_its_key(s: Subject) {
    let faulty = Faulty::new(s.submissions.clone());
    faulty.script([Fault::LoseResponse]);
    let (key, job) = (key(), job());
    let submission = NewSubmission { job: &job, digest: &[1; 32], owner: &OWNER, mac: MAC };
    assert!(faulty.accept(&key, submission, at(0)).await.is_err());
    let again = faulty.accept(&key, submission, at(1)).await.unwrap();
    let (digest, owner, mac) = ([1; 32], Some(OWNER), MAC.into());
    assert_eq!(again, Accepted::Existing { job, digest, owner, published: false, mac });
}

pub(super) async fn a_cancellation_with_a_lost_response_stands(s: Subject) {
    let (s, _) = deaf(&s, Fault::LoseResponse);
    let job = job();
    assert!(s.store.cancel(&job, at(0)).await.is_err());
    assert_eq!(s.cancel(&job, 1).await, Cancelled::AlreadyFinished);
    assert_eq!(s.claim(&job, Token::random(), 1000, 2).await, Claim::Cancelled);
}

pub(super) async fn a_lost_request_changes_nothing(s: Subject) {
    let (s, _) = deaf(&s, Fault::LoseRequest);
    let (job, token) = (job(), Token::random());
    let request = ClaimRequest::new(METHOD, token, at(1000), Lapsed::Take);
    assert!(s.store.claim(&job, request, at(0)).await.is_err());
    assert_eq!(s.find(&job, at(1)).await, None);
    assert_eq!(s.claim(&job, token, 1000, 2).await, Claim::Granted { attempt: 1 });
}

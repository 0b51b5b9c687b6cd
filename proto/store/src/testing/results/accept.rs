//! Idempotent submissions.

use super::*;
use crate::submission::{Accepted, NewSubmission, RequestKey};

pub(super) fn key() -> RequestKey {
    let mut key = [0; 32];
    key[..16].copy_from_slice(Token::random().as_bytes());
    key
}

fn existing(job: JobId, published: bool) -> Accepted {
    Accepted::Existing { job, digest: [1; 32], owner: Some(OWNER), published, mac: MAC.into() }
}

pub(super) async fn the_first_submission_wins(s: Subject) {
    let (key, first, second) = (key(), job(), job());
    let accepted = s.accept(&key, &first, &[1; 32], at(0)).await;
    assert_eq!(accepted, Accepted::New);
    for digest in [[1; 32], [2; 32]] {
        let accepted = s.accept(&key, &second, &digest, at(1)).await;
        assert_eq!(accepted, existing(first, false));
    }
    // A submission says nothing about who may run the job.
    assert_eq!(s.find(&first, at(2)).await, None);
}

pub(super) async fn the_owner_is_that_of_the_first_submission(s: Subject) {
    let (key, first) = (key(), job());
    s.accept(&key, &first, &[1; 32], at(0)).await;
    let again = NewSubmission { job: &job(), digest: &[1; 32], owner: &[8; 16], mac: b"another" };
    let accepted = s.submissions.accept(&key, again, at(1)).await.unwrap();
    assert_eq!(accepted, existing(first, false));
}

pub(super) async fn a_published_submission_says_so(s: Subject) {
    let (key, first) = (key(), job());
    s.accept(&key, &first, &[1; 32], at(0)).await;
    for _ in 0..2 {
        s.submissions.mark_published(&key, at(1)).await.unwrap();
        let accepted = s.accept(&key, &job(), &[1; 32], at(2)).await;
        assert_eq!(accepted, existing(first, true));
    }
}

pub(super) async fn what_was_submitted_is_found(s: Subject) {
    let (key, first) = (key(), job());
    let find = |now| s.submissions.find(&key, now);
    assert_eq!(find(at(0)).await.unwrap(), None);
    let accepted = s.accept(&key, &first, &[1; 32], at(0)).await;
    assert_eq!(accepted, Accepted::New, "a look leaves nothing behind");
    assert_eq!(find(at(1)).await.unwrap(), Some(existing(first, false)));
    s.submissions.mark_published(&key, at(1)).await.unwrap();
    let end = EXPIRES.plus(CLOCK_SKEW).plus(RETENTION).plus(s.copies_survive);
    assert_eq!(find(before(end)).await.unwrap(), Some(existing(first, true)));
    assert_eq!(find(end).await.unwrap(), None);
}

pub(super) async fn keys_are_independent(s: Subject) {
    for key in [key(), key()] {
        let accepted = s.accept(&key, &job(), &[1; 32], at(0)).await;
        assert_eq!(accepted, Accepted::New);
    }
}

pub(super) async fn a_key_is_free_again_after_its_tombstone(s: Subject) {
    let (key, first, second) = (key(), job(), job());
    // The latest time at which the first job can end with a result.
    let end = EXPIRES.plus(CLOCK_SKEW).plus(RETENTION).plus(s.copies_survive);
    s.accept(&key, &first, &[1; 32], at(0)).await;
    s.submissions.mark_published(&key, at(1)).await.unwrap();
    let accepted = s.accept(&key, &second, &[1; 32], before(end)).await;
    assert_eq!(accepted, existing(first, true));
    let accepted = s.accept(&key, &second, &[1; 32], end).await;
    assert_eq!(accepted, Accepted::New);
}

pub(super) async fn a_mark_without_a_submission_is_harmless(s: Subject) {
    let key = key();
    s.submissions.mark_published(&key, at(0)).await.unwrap();
    let accepted = s.accept(&key, &job(), &[1; 32], at(1)).await;
    assert_eq!(accepted, Accepted::New);
}

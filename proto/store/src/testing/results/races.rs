//! Many at once: whatever the order, one wins.

use super::accept::key;
use super::*;
use crate::submission::Accepted;
use std::future::Future;
use tokio::task::JoinSet;

const MANY: usize = 20;

/// The answers of all calls, which run at the same time.
async fn all<F, A>(calls: impl IntoIterator<Item = F>) -> Vec<A>
where
    F: Future<Output = A> + Send + 'static,
    A: Send + 'static,
{
    calls.into_iter().collect::<JoinSet<A>>().join_all().await
}

fn count<A: PartialEq>(answers: &[A], answer: &A) -> usize {
    answers.iter().filter(|a| *a == answer).count()
}

async fn claims(s: &Subject, job: JobId, now: u64) -> Vec<Claim> {
    let call = |_| {
        let s = s.clone();
        async move { s.claim(&job, Token::random(), now + 1000, now).await }
    };
    all((0..MANY).map(call)).await
}

pub(super) async fn one_of_many_claims_is_granted(s: Subject) {
    let answers = claims(&s, job(), 0).await;
    assert_eq!(count(&answers, &Claim::Granted { attempt: 1 }), 1);
    assert_eq!(count(&answers, &Claim::HeldUntil(at(1000))), MANY - 1);
}

pub(super) async fn a_lapsed_claim_is_granted_once(s: Subject) {
    let (job, _) = s.running().await;
    let answers = claims(&s, job, 1000).await;
    assert_eq!(count(&answers, &Claim::Granted { attempt: 2 }), 1);
    assert_eq!(count(&answers, &Claim::HeldUntil(at(2000))), MANY - 1);
}

pub(super) async fn one_of_many_completions_is_stored(s: Subject) {
    let job = job();
    let call = |number: usize| {
        let s = s.clone();
        let end = outcome(&number.to_string());
        async move {
            let author = Author::Unclaimed;
            let end = End::new(State::Succeeded, end);
            let done = s.store.complete(&job, METHOD, author, end, at(1)).await;
            (number, done.unwrap())
        }
    };
    let answers = all((0..MANY).map(call)).await;
    let stored: Vec<_> = answers.iter().filter(|(_, a)| *a == Completed::Stored).collect();
    assert_eq!(stored.len(), 1);
    let others = answers.iter().filter(|(_, a)| *a == Completed::AlreadyFinished).count();
    assert_eq!(others, MANY - 1);
    assert_eq!(s.get(&job, 2).await.outcome, Some(outcome(&stored[0].0.to_string())));
}

pub(super) async fn holder_reader_and_caller_agree_on_one_end(s: Subject) {
    for _ in 0..MANY {
        let (job, token) = s.running().await;
        // At this one millisecond a result and an expiry are both in time.
        let (holder, reader, caller) = tokio::join!(
            s.complete(&job, Author::Claim(token), State::Succeeded, over()),
            s.complete(&job, Author::Expiry, State::Expired, over()),
            s.cancel(&job, over()),
        );
        let expected = match s.get(&job, over()).await.state {
            State::Succeeded => (true, false, false),
            State::Expired => (false, true, false),
            State::Cancelled => (false, false, true),
            state => panic!("not finished: {state:?}"),
        };
        let stored = |answer| answer == Completed::Stored;
        let won = (stored(holder), stored(reader), caller == Cancelled::BeforeStart);
        assert_eq!(won, expected);
    }
}

pub(super) async fn a_cancellation_and_a_claim_do_not_both_win(s: Subject) {
    for _ in 0..MANY {
        let job = job();
        let (claimed, cancelled) =
            tokio::join!(s.claim(&job, Token::random(), 1000, 0), s.cancel(&job, 0));
        let record = s.get(&job, 1).await;
        match (claimed, cancelled) {
            (Claim::Granted { attempt: 1 }, Cancelled::Requested) => {
                assert_eq!((record.state, record.cancel_requested), (State::Running, true));
            }
            (Claim::Cancelled, Cancelled::BeforeStart) => {
                assert_eq!((record.state, record.attempt), (State::Cancelled, 0));
            }
            both => panic!("{both:?}"),
        }
    }
}

pub(super) async fn one_of_many_submissions_is_the_first(s: Subject) {
    let key = key();
    let call = |_| {
        let s = s.clone();
        async move {
            let mine = job();
            (mine, s.accept(&key, &mine, &[1; 32], at(0)).await)
        }
    };
    let answers = all((0..MANY).map(call)).await;
    let winners: Vec<_> = answers.iter().filter(|(_, a)| *a == Accepted::New).collect();
    assert_eq!(winners.len(), 1);
    let (job, digest, owner, mac) = (winners[0].0, [1; 32], Some(OWNER), MAC.into());
    let lost = Accepted::Existing { job, digest, owner, published: false, mac };
    assert_eq!(answers.iter().filter(|(_, a)| *a == lost).count(), MANY - 1);
}

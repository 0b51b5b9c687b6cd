//! Names that one process at a time holds.

use super::*;
use crate::lease::Acquired;

impl Subject {
    async fn acquire(&self, name: &str, holder: Token, until: u64, now: u64) -> Acquired {
        self.leases.acquire(name, holder, at(until), at(now)).await.unwrap()
    }
}

fn name() -> String {
    format!("suite/{}", Token::random())
}

pub(super) async fn a_lease_has_one_holder(s: Subject) {
    let (name, first, second) = (name(), Token::random(), Token::random());
    assert_eq!(s.acquire(&name, first, 1000, 0).await, Acquired::Held);
    assert_eq!(s.acquire(&name, second, 2000, 999).await, Acquired::HeldUntil(at(1000)));
}

pub(super) async fn a_holder_prolongs_its_lease(s: Subject) {
    let (name, first, second) = (name(), Token::random(), Token::random());
    assert_eq!(s.acquire(&name, first, 1000, 0).await, Acquired::Held);
    assert_eq!(s.acquire(&name, first, 3000, 500).await, Acquired::Held);
    assert_eq!(s.acquire(&name, second, 4000, 1000).await, Acquired::HeldUntil(at(3000)));
}

pub(super) async fn a_lease_is_free_from_its_end_on(s: Subject) {
    let (name, first, second) = (name(), Token::random(), Token::random());
    assert_eq!(s.acquire(&name, first, 1000, 0).await, Acquired::Held);
    assert_eq!(s.acquire(&name, second, 2000, 1000).await, Acquired::Held);
    assert_eq!(s.acquire(&name, first, 3000, 1001).await, Acquired::HeldUntil(at(2000)));
}

pub(super) async fn a_released_lease_is_free_at_once(s: Subject) {
    let (name, first, second) = (name(), Token::random(), Token::random());
    assert_eq!(s.acquire(&name, first, 1000, 0).await, Acquired::Held);
    s.leases.release(&name, first).await.unwrap();
    s.leases.release(&name, first).await.unwrap();
    assert_eq!(s.acquire(&name, second, 2000, 1).await, Acquired::Held);
}

pub(super) async fn only_the_holder_releases(s: Subject) {
    let (name, first, second) = (name(), Token::random(), Token::random());
    s.leases.release(&name, second).await.unwrap();
    assert_eq!(s.acquire(&name, first, 1000, 0).await, Acquired::Held);
    s.leases.release(&name, second).await.unwrap();
    assert_eq!(s.acquire(&name, second, 2000, 1).await, Acquired::HeldUntil(at(1000)));
}

pub(super) async fn names_are_independent(s: Subject) {
    let holder = Token::random();
    for name in [name(), name()] {
        assert_eq!(s.acquire(&name, holder, 1000, 0).await, Acquired::Held);
    }
}

pub(super) async fn one_of_many_is_the_holder(s: Subject) {
    let name = name();
    let tries = (0..16).map(|_| {
        let (s, name) = (s.clone(), name.clone());
        tokio::spawn(async move { s.acquire(&name, Token::random(), 1000, 0).await })
    });
    let mut holders = 0;
    for task in tries.collect::<Vec<_>>() {
        holders += u32::from(task.await.unwrap() == Acquired::Held);
    }
    assert_eq!(holders, 1);
}

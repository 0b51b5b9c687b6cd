//! Room for bytes: a budget of memory that calls share, and what one tenant leaves of it to
//! the others. What is coming in has one ([`crate::arriving`]), what is going out another
//! ([`crate::leaving`]).

use crate::admission::overloaded;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Sleep, sleep};
use tonic::Status;

/// The bytes of a budget: with that of [`crate::admission`] the two leave something to
/// everything else on a host of 1 GiB. Eight of the largest messages have room in any case,
/// so that one tenant of several has it for six.
pub(crate) const ALL: usize = 256 * 1024 * 1024;
pub(crate) const LARGEST: usize = 8;
/// For so long room is waited for: others need seconds for theirs, and callers do not wait
/// for longer without an answer.
pub(crate) const TURN: Duration = Duration::from_secs(10);
/// So much is no more than a call costs in any case, and is not counted: small calls come
/// through whatever others do.
pub(crate) const FREE: usize = 8 * 1024;

/// So many bytes for all, and for each tenant. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    all: usize,
    of_a_tenant: usize,
    taken: Arc<Mutex<Taken>>,
    given_back: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Only those who have some.
    tenants: HashMap<Arc<str>, usize>,
}

impl Budget {
    /// Room for messages of at most `most` bytes. A tenant that is `alone` has all of it,
    /// one of several leaves a quarter to the others.
    pub(crate) fn new(most: usize, alone: bool) -> Self {
        Self::sized(ALL.max(LARGEST.saturating_mul(most)), alone)
    }

    /// The same of so many bytes.
    pub(crate) fn sized(all: usize, alone: bool) -> Self {
        let of_a_tenant = if alone { all } else { all / 4 * 3 };
        let (taken, given_back) = Default::default();
        Self { all, of_a_tenant, taken, given_back }
    }

    /// No room at all.
    pub(crate) fn none() -> Self {
        Self::sized(0, true)
    }

    /// The room of one call of `tenant`: nothing yet.
    pub(crate) fn room(&self, tenant: &Arc<str>) -> Room {
        Room { budget: self.clone(), tenant: tenant.clone(), bytes: 0, turn: None }
    }

    /// Ready when something has been given back, from the first look at it on.
    pub(crate) fn given_back(&self) -> OwnedNotified {
        self.given_back.clone().notified_owned()
    }

    /// What is taken, of how many tenants.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> (usize, usize) {
        let taken = self.taken.lock().unwrap();
        (taken.all, taken.tenants.len())
    }
}

/// What one call takes; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    budget: Budget,
    tenant: Arc<str>,
    /// Without what is free.
    bytes: usize,
    /// While it waits for more.
    turn: Option<Turn>,
}

#[derive(Debug)]
struct Turn {
    given_back: Pin<Box<OwnedNotified>>,
    end: Pin<Box<Sleep>>,
}

impl Room {
    /// The call needs so many bytes now, all in all. Less is always had.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`/`OVERLOADED` with the time to come back.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), Status> {
        let bytes = bytes.saturating_sub(FREE);
        if bytes == self.bytes {
            return Ok(());
        }
        let mut taken = self.budget.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_tenant = taken.tenants.get(&self.tenant).copied().unwrap_or_default();
        let all = (taken.all - self.bytes).saturating_add(bytes);
        let of_tenant = (of_tenant - self.bytes).saturating_add(bytes);
        if bytes > self.bytes && (all > self.budget.all || of_tenant > self.budget.of_a_tenant) {
            return Err(overloaded());
        }
        taken.all = all;
        if of_tenant == 0 {
            taken.tenants.remove(&self.tenant);
        } else {
            taken.tenants.insert(self.tenant.clone(), of_tenant);
        }
        let less = bytes < self.bytes;
        self.bytes = bytes;
        drop(taken);
        if less {
            self.budget.given_back.notify_waiters();
        }
        Ok(())
    }

    /// The same as soon as there is room. Whoever waits holds nothing of what it
    /// waits for, so that all get their turn.
    ///
    /// # Errors
    /// As [`Room::hold`], when it takes too long.
    pub(crate) fn poll_hold(
        &mut self,
        bytes: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Status>> {
        let Err(refusal) = self.hold(bytes) else {
            self.turn = None;
            return Poll::Ready(Ok(()));
        };
        let mut turn = self.turn.take().unwrap_or_else(|| Turn {
            given_back: Box::pin(self.budget.given_back()),
            end: Box::pin(sleep(TURN)),
        });
        loop {
            // Whatever is given back from here on is noticed.
            turn.given_back.as_mut().enable();
            if self.hold(bytes).is_ok() {
                return Poll::Ready(Ok(()));
            }
            if turn.given_back.as_mut().poll(context).is_pending() {
                break;
            }
            turn.given_back.set(self.budget.given_back());
        }
        if turn.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(refusal));
        }
        self.turn = Some(turn);
        Poll::Pending
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // Less is always had.
        let _ = self.hold(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::future::poll_fn;
    use tokio::time::Instant;

    fn room(budget: &Budget, tenant: &str) -> Room {
        budget.room(&tenant.into())
    }

    #[test]
    fn a_tenant_leaves_a_quarter_of_the_room_to_the_others() {
        let budget = Budget::new(1024, false);
        let mut greedy: Vec<Room> = (0..5).map(|_| room(&budget, "greedy")).collect();
        let held = greedy.iter_mut().filter_map(|room| room.hold(ALL / 4).ok()).count();
        assert_eq!(held, 3, "what is free lets no fourth in");
        let mut other = room(&budget, "other");
        assert!(other.hold(ALL / 4).is_ok());
        let mut third = room(&budget, "third");
        assert!(third.hold(ALL / 4).is_err(), "all together");
        assert!(third.hold(FREE).is_ok(), "small messages always come through");
        drop(greedy);
        assert!(third.hold(ALL / 4).is_ok());
    }

    #[test]
    fn a_tenant_without_others_leaves_nothing_to_them() {
        let budget = Budget::new(1024, true);
        assert!(room(&budget, "all").hold(ALL).is_ok());
        assert!(room(&budget, "all").hold(ALL + FREE + 1).is_err());
        assert!(room(&Budget::none(), "").hold(FREE + 1).is_err());
    }

    #[test]
    fn nothing_is_left_of_what_is_given_back() {
        let budget = Budget::new(1024, false);
        let mut one = room(&budget, "one");
        for bytes in [100, 100_000, 50_000, 1_000_000, 0, 70_000] {
            one.hold(bytes).unwrap();
        }
        let mut two = room(&budget, "one");
        two.hold(20_000).unwrap();
        drop(one);
        drop(two);
        assert_eq!(budget.taken(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_gets_room_when_others_have_gone_or_is_refused() {
        let budget = Budget::new(1024, true);
        let mut first = room(&budget, "a");
        first.hold(ALL).unwrap();
        let (mut second, mut third) = (room(&budget, "a"), room(&budget, "b"));
        let begun = Instant::now();
        let mut waiting = Box::pin(poll_fn(|context| second.poll_hold(ALL / 2, context)));
        assert!((&mut waiting).now_or_never().is_none());
        let refused = poll_fn(|context| third.poll_hold(ALL, context)).await;
        assert!(refused.is_err());
        assert_eq!(begun.elapsed(), TURN);
        drop(waiting);
        second.turn = None;
        let waiting = async {
            poll_fn(|context| second.poll_hold(ALL / 2, context)).await.unwrap();
            begun.elapsed()
        };
        let giving = async {
            tokio::time::sleep(TURN / 4).await;
            first.hold(ALL / 4 * 3).unwrap();
            tokio::time::sleep(TURN / 4).await;
            first.hold(ALL / 4).unwrap();
        };
        let (waited, ()) = tokio::join!(waiting, giving);
        assert_eq!(waited, TURN + TURN / 2);
    }
}

//! Requests that have not come as a whole yet: how much memory they may take together, and
//! for how long.
//!
//! Whoever reads a message has to keep what it has of it. A caller who is let in could begin
//! as many messages as its connections carry, and end none. What has come as a whole is
//! counted by [`crate::admission`] and the quotas.

mod body;
mod unit;

pub(crate) use body::Refusal;
pub(crate) use unit::Unit;

use crate::admission::overloaded;
use body::ArrivingBody;
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
use tonic::body::Body;

/// The bytes that all messages may have that are still coming, the rest of each included:
/// whoever reads a message sets the memory for all of it aside. Eight of the largest ones
/// have room in any case.
const ALL: usize = 256 * 1024 * 1024;
const LARGEST: usize = 8;
/// For so long a message may be on its way: 35 KB a second for one of the usual 4 MiB.
const PATIENCE: Duration = Duration::from_secs(120);
/// Larger ones may be as slow as this, in bytes a second.
const SLOWEST: usize = 64 * 1024;
/// For so long a message waits for room.
const TURN: Duration = Duration::from_secs(10);
/// So much of a message is no more than its call costs in any case, and is not counted:
/// small calls come through whatever others send.
const FREE: usize = 8 * 1024;

/// The room for what is still coming. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Arriving {
    all: usize,
    of_a_tenant: usize,
    /// The largest message; of one that is larger nothing more is read.
    most: usize,
    patience: Duration,
    taken: Arc<Mutex<Taken>>,
    given_back: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Only those who have some.
    tenants: HashMap<Arc<str>, usize>,
}

impl Default for Arriving {
    fn default() -> Self {
        Self::new(ALL / LARGEST, false)
    }
}

impl Arriving {
    /// Room for messages of at most `most` bytes. A tenant that is `alone` has all of it,
    /// one of several leaves a quarter to the others.
    pub(crate) fn new(most: usize, alone: bool) -> Self {
        let all = ALL.max(LARGEST * most);
        let of_a_tenant = if alone { all } else { all / 4 * 3 };
        let slowly = Duration::from_secs((most / SLOWEST) as u64);
        let (taken, given_back) = Default::default();
        Self { all, of_a_tenant, most, patience: PATIENCE.max(slowly), taken, given_back }
    }

    /// No room at all, for those who send nothing that is worth it.
    pub(crate) fn none() -> Self {
        Self { of_a_tenant: 0, ..Self::default() }
    }

    /// The body of a request of `tenant`, within the room that there is. Whoever does not
    /// hand on the errors of the body finds in `refusal` what to say instead.
    pub(crate) fn body(
        &self,
        tenant: &Arc<str>,
        unit: Unit,
        body: Body,
        refusal: Option<Refusal>,
    ) -> Body {
        let room = Room { arriving: self.clone(), tenant: tenant.clone(), bytes: 0, turn: None };
        Body::new(ArrivingBody::new(body, unit, room, refusal))
    }
}

/// What one request takes; given back when it is dropped.
#[derive(Debug)]
struct Room {
    arriving: Arriving,
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
    /// The request needs so many bytes for a message that is still coming.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`/`OVERLOADED` with the time to come back.
    fn hold(&mut self, bytes: usize) -> Result<(), Status> {
        let bytes = bytes.saturating_sub(FREE);
        if bytes == self.bytes {
            return Ok(());
        }
        let mut taken = self.arriving.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_tenant = taken.tenants.get(&self.tenant).copied().unwrap_or_default();
        let all = taken.all - self.bytes + bytes;
        let of_tenant = of_tenant - self.bytes + bytes;
        if bytes > self.bytes && (all > self.arriving.all || of_tenant > self.arriving.of_a_tenant)
        {
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
            self.arriving.given_back.notify_waiters();
        }
        Ok(())
    }

    /// The same as soon as there is room. Whoever waits holds nothing of the message that
    /// it waits for, so that all get their turn.
    ///
    /// # Errors
    /// As [`Room::hold`], when it takes too long.
    fn poll_hold(&mut self, bytes: usize, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        let Err(refusal) = self.hold(bytes) else {
            self.turn = None;
            return Poll::Ready(Ok(()));
        };
        let mut turn = self.turn.take().unwrap_or_else(|| Turn {
            given_back: Box::pin(self.arriving.given_back.clone().notified_owned()),
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
            turn.given_back.set(self.arriving.given_back.clone().notified_owned());
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

    fn room(arriving: &Arriving, tenant: &str) -> Room {
        Room { arriving: arriving.clone(), tenant: tenant.into(), bytes: 0, turn: None }
    }

    #[test]
    fn a_tenant_leaves_a_quarter_of_the_room_to_the_others() {
        let arriving = Arriving::default();
        let mut greedy: Vec<Room> = (0..5).map(|_| room(&arriving, "greedy")).collect();
        let held = greedy.iter_mut().filter_map(|room| room.hold(ALL / 4).ok()).count();
        assert_eq!(held, 3, "what is free lets no fourth in");
        let mut other = room(&arriving, "other");
        assert!(other.hold(ALL / 4).is_ok());
        let mut third = room(&arriving, "third");
        assert!(third.hold(ALL / 4).is_err(), "all together");
        assert!(third.hold(FREE).is_ok(), "small messages always come through");
        drop(greedy);
        assert!(third.hold(ALL / 4).is_ok());
    }

    #[test]
    fn a_tenant_without_others_leaves_nothing_to_them() {
        let arriving = Arriving::new(1024, true);
        assert!(room(&arriving, "all").hold(ALL).is_ok());
        assert!(room(&arriving, "all").hold(ALL + FREE + 1).is_err());
        assert!(room(&Arriving::none(), "").hold(FREE + 1).is_err());
    }

    #[test]
    fn several_of_the_largest_messages_have_room_and_time() {
        let most = 64 * 1024 * 1024;
        let arriving = Arriving::new(most, false);
        let mut rooms: Vec<Room> = (0..6).map(|_| room(&arriving, "one")).collect();
        assert!(rooms.iter_mut().all(|room| room.hold(most).is_ok()));
        assert_eq!(arriving.patience, Duration::from_secs(1024));
        assert_eq!(Arriving::new(4 * 1024 * 1024, false).patience, PATIENCE);
    }

    #[test]
    fn nothing_is_left_of_what_is_given_back() {
        let arriving = Arriving::default();
        let mut one = room(&arriving, "one");
        for bytes in [100, 100_000, 50_000, 1_000_000, 0, 70_000] {
            one.hold(bytes).unwrap();
        }
        let mut two = room(&arriving, "one");
        two.hold(20_000).unwrap();
        drop(one);
        drop(two);
        let taken = arriving.taken.lock().unwrap();
        assert_eq!((taken.all, taken.tenants.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_gets_room_when_others_have_gone_or_is_refused() {
        let arriving = Arriving::new(1024, true);
        let mut first = room(&arriving, "a");
        first.hold(ALL).unwrap();
        let (mut second, mut third) = (room(&arriving, "a"), room(&arriving, "b"));
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

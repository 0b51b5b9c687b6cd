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
use std::sync::{Arc, Mutex, PoisonError};
use tonic::Status;
use tonic::body::Body;

/// The bytes that all messages may have that are still coming, the rest of each included:
/// whoever reads a message sets the memory for all of it aside.
const ALL: usize = 256 * 1024 * 1024;
/// Those of one tenant among others: whatever it does, as much is left to them.
const OF_A_TENANT: usize = ALL / 2;
/// So much of a message is no more than its call costs in any case, and is not counted:
/// small calls come through whatever others send.
const FREE: usize = 8 * 1024;

/// The room for what is still coming. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Arriving {
    of_a_tenant: usize,
    /// The largest message; of one that is larger nothing more is read.
    most: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Only those who have some.
    tenants: HashMap<Arc<str>, usize>,
}

impl Default for Arriving {
    fn default() -> Self {
        Self::new(usize::MAX, false)
    }
}

impl Arriving {
    /// Room for messages of at most `most` bytes. A tenant that is `alone` has all of it.
    pub(crate) fn new(most: usize, alone: bool) -> Self {
        let of_a_tenant = if alone { ALL } else { OF_A_TENANT };
        Self { of_a_tenant, most, taken: Arc::default() }
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
        let room = Room { arriving: self.clone(), tenant: tenant.clone(), bytes: 0 };
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
        if bytes > self.bytes && (all > ALL || of_tenant > self.arriving.of_a_tenant) {
            return Err(overloaded());
        }
        taken.all = all;
        if of_tenant == 0 {
            taken.tenants.remove(&self.tenant);
        } else {
            taken.tenants.insert(self.tenant.clone(), of_tenant);
        }
        self.bytes = bytes;
        Ok(())
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

    fn room(arriving: &Arriving, tenant: &str) -> Room {
        Room { arriving: arriving.clone(), tenant: tenant.into(), bytes: 0 }
    }

    #[test]
    fn a_tenant_leaves_half_of_the_room_to_the_others() {
        let arriving = Arriving::default();
        let mut greedy: Vec<Room> = (0..5).map(|_| room(&arriving, "greedy")).collect();
        let held = greedy.iter_mut().filter_map(|room| room.hold(OF_A_TENANT / 4).ok()).count();
        assert_eq!(held, 4, "what is free lets no fifth in");
        let mut other = room(&arriving, "other");
        assert!(other.hold(OF_A_TENANT).is_ok());
        let mut third = room(&arriving, "third");
        assert!(third.hold(OF_A_TENANT).is_err(), "all together");
        assert!(third.hold(FREE).is_ok(), "small messages always come through");
        drop(greedy);
        assert!(third.hold(OF_A_TENANT).is_ok());
    }

    #[test]
    fn a_tenant_without_others_leaves_nothing_to_them() {
        let arriving = Arriving::new(ALL, true);
        assert!(room(&arriving, "all").hold(ALL).is_ok());
        assert!(room(&arriving, "all").hold(ALL + FREE + 1).is_err());
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
}

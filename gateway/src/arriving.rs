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

use crate::room::{ALL, Budget, LARGEST};
use body::ArrivingBody;
use std::sync::Arc;
use std::time::Duration;
use tonic::body::Body;

/// For so long a message may be on its way: 35 KB a second for one of the usual 4 MiB.
const PATIENCE: Duration = Duration::from_secs(120);
/// Larger ones may be as slow as this, in bytes a second.
const SLOWEST: usize = 64 * 1024;

/// The room for what is still coming, the rest of each message included: whoever reads a
/// message sets the memory for all of it aside. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Arriving {
    budget: Budget,
    /// The largest message; of one that is larger nothing more is read.
    most: usize,
    patience: Duration,
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
        let slowly = Duration::from_secs((most / SLOWEST) as u64);
        Self { budget: Budget::new(most, alone), most, patience: PATIENCE.max(slowly) }
    }

    /// No room at all, for those who send nothing that is worth it.
    pub(crate) fn none() -> Self {
        Self { budget: Budget::none(), ..Self::default() }
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
        let room = self.budget.room(tenant);
        Body::new(ArrivingBody::new(body, unit, self.clone(), room, refusal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_of_the_largest_messages_have_room_and_time() {
        let most = 64 * 1024 * 1024;
        let arriving = Arriving::new(most, false);
        let mut rooms: Vec<_> = (0..6).map(|_| arriving.budget.room(&"one".into())).collect();
        assert!(rooms.iter_mut().all(|room| room.hold(most).is_ok()));
        assert_eq!(arriving.patience, Duration::from_secs(1024));
        assert_eq!(Arriving::new(4 * 1024 * 1024, false).patience, PATIENCE);
    }
}

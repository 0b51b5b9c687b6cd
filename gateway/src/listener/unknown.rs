//! Open calls of callers who are not known: health checks, and whatever else is answered
//! before anybody has shown credentials.
//!
//! A connection may have many calls open, and a peer need not take their answers. So each
//! open call has a place, until the last byte of its answer is taken.

use crate::admission::overloaded;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tonic::Status;

/// Watches of one connection. A client watches what it calls: few services, once each.
const WATCHES: usize = 8;
/// Those of the gateway: beyond these each connection has one more, so that nobody takes the
/// watches of others. Each costs 9 KiB, for as long as its peer likes.
const ALL_WATCHES: usize = 1024;
/// Other calls of one connection. They are answered at once: a client has as many open as
/// it begins at the same time.
const BRIEF: usize = 32;
/// Of the gateway: beyond these, whose answers nobody takes, each connection has one more,
/// so that a health check is answered whatever others do.
const ALL_BRIEF: usize = 1024;

/// The places of one connection, and of all together. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct UnknownCalls {
    here: Arc<Open>,
    all: Arc<Open>,
}

#[derive(Debug, Default)]
struct Open {
    watches: AtomicUsize,
    brief: AtomicUsize,
}

/// How long a call may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lasting {
    /// As long as the caller likes.
    Watch,
    /// Until its answer is taken.
    Brief,
}

/// The place of one call, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct UnknownCall {
    calls: UnknownCalls,
    lasting: Lasting,
}

impl UnknownCalls {
    /// Those of another connection to the same port.
    pub(super) fn of_another_connection(&self) -> Self {
        Self { here: Arc::default(), all: self.all.clone() }
    }

    /// A place for a call.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`/`OVERLOADED` with the time to come back.
    pub(crate) fn enter(&self, lasting: Lasting) -> Result<UnknownCall, Status> {
        let here = self.here.of(lasting).fetch_add(1, Ordering::Relaxed);
        let all = self.all.of(lasting).fetch_add(1, Ordering::Relaxed);
        // Gives back what was taken, too, if it may not stay.
        let call = UnknownCall { calls: self.clone(), lasting };
        let fits = match lasting {
            Lasting::Watch => here < if all < ALL_WATCHES { WATCHES } else { 1 },
            Lasting::Brief => here < if all < ALL_BRIEF { BRIEF } else { 1 },
        };
        if fits { Ok(call) } else { Err(overloaded()) }
    }
}

impl Open {
    fn of(&self, lasting: Lasting) -> &AtomicUsize {
        match lasting {
            Lasting::Watch => &self.watches,
            Lasting::Brief => &self.brief,
        }
    }
}

impl Drop for UnknownCall {
    fn drop(&mut self) {
        for open in [&self.calls.here, &self.calls.all] {
            open.of(self.lasting).fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    fn fill(calls: &UnknownCalls, lasting: Lasting) -> Vec<UnknownCall> {
        std::iter::from_fn(|| calls.enter(lasting).ok()).collect()
    }

    #[test]
    fn watches_are_few_per_connection_and_bounded_together() {
        let port = UnknownCalls::default();
        let first = port.of_another_connection();
        let held = fill(&first, Lasting::Watch);
        assert_eq!(held.len(), WATCHES);
        let refused = first.enter(Lasting::Watch).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(refused.metadata().contains_key("grpc-retry-pushback-ms"));
        let others: Vec<_> = (0..200).map(|_| port.of_another_connection()).collect();
        let mut all: Vec<_> = others.iter().flat_map(|of| fill(of, Lasting::Watch)).collect();
        // The first 127 of the others have as many, and 73 have one.
        assert_eq!(held.len() + all.len(), ALL_WATCHES + 73);
        let honest = port.of_another_connection();
        assert_eq!(fill(&honest, Lasting::Watch).len(), 1, "whatever others do");
        all.truncate(all.len() - 73 - 7);
        assert_eq!(fill(&honest, Lasting::Watch).len(), 7, "some were given back");
        drop((held, all));
        assert_eq!(fill(&first, Lasting::Watch).len(), WATCHES, "nothing is left over");
    }

    #[test]
    fn a_check_has_a_place_whatever_others_do() {
        let port = UnknownCalls::default();
        let others: Vec<_> = (0..200).map(|_| port.of_another_connection()).collect();
        let watches: Vec<_> = others.iter().flat_map(|of| fill(of, Lasting::Watch)).collect();
        let unread: Vec<_> = others.iter().flat_map(|of| fill(of, Lasting::Brief)).collect();
        assert_eq!((watches.len(), unread.len()), (ALL_WATCHES + 200 - 128, ALL_BRIEF + 200 - 32));
        let honest = port.of_another_connection();
        assert_eq!(fill(&honest, Lasting::Brief).len(), 1);
        drop(unread);
        assert_eq!(fill(&honest, Lasting::Brief).len(), BRIEF);
    }
}

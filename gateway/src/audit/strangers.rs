//! Refusals of callers who are not known, thinned: guessing must neither fill the log nor
//! hide what others do in it.
//!
//! The first refusal from an address for a reason is a line at once. Those after it are
//! counted, and the count is one line for each minute in which there were any. A minute
//! without one ends that, and the next is a line at once again.

use crate::auth::Refused;
use queuebridge_proto::error::reason;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

/// For so long refusals are counted before the count is a line.
const PERIOD: Duration = Duration::from_secs(60);
/// The same for calls without any credentials. They guess nothing: clients that are not set
/// up, probes and scanners, which go on for days.
const PERIOD_OF_MISSING: Duration = Duration::from_secs(600);
/// So many addresses are told apart for each reason at once; the others count together.
const MAX_ADDRESSES: usize = 128;

/// Thins the refusals of one gateway.
#[derive(Default)]
pub(crate) struct Strangers(Arc<Mutex<Table>>);

impl Strangers {
    /// Notes a refusal, and writes the lines that are due. In a runtime a task writes the
    /// last count when its time has come; elsewhere the next refusal does.
    pub(crate) fn refused(&self, caller: &Refused, address: Option<IpAddr>) {
        let now = Instant::now();
        let (counts, noted, begins) = {
            let mut table = lock(&self.0);
            let counts = table.due(now);
            let noted = table.note(caller.reason, address, now);
            let begins =
                noted == Noted::Counted && !table.is_watched && Handle::try_current().is_ok();
            table.is_watched |= begins;
            (counts, noted, begins)
        };
        counts.iter().for_each(super::counted);
        if noted == Noted::Shown {
            super::not_let_in(caller, address);
        }
        if begins {
            tokio::spawn(watch(Arc::downgrade(&self.0)));
        }
    }
}

#[cfg(test)]
impl Strangers {
    /// Whether anybody was refused.
    pub(crate) fn have_come(&self) -> bool {
        !lock(&self.0).reasons.is_empty()
    }
}

impl Drop for Strangers {
    /// What was counted when the gateway ends is said as well.
    fn drop(&mut self) {
        let counts = lock(&self.0).due(Instant::now() + PERIOD_OF_MISSING);
        counts.iter().for_each(super::counted);
    }
}

/// Writes counts when they are due, for as long as there are any.
async fn watch(table: Weak<Mutex<Table>>) {
    loop {
        let Some(next) = table.upgrade().and_then(|table| lock(&table).next_due()) else { return };
        sleep_until(next).await;
        let Some(table) = table.upgrade() else { return };
        let counts = lock(&table).due(Instant::now());
        counts.iter().for_each(super::counted);
    }
}

fn lock(table: &Mutex<Table>) -> std::sync::MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From where refused calls came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// One address of IPv4.
    Address(IpAddr),
    /// A /64 of IPv6, which is what one caller has.
    Network(Ipv6Addr),
    /// Nobody has told.
    Unknown,
    /// More addresses than are told apart.
    Others,
}

impl Source {
    fn of(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self::Unknown,
            Some(IpAddr::V6(address)) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                Self::Network(Ipv6Addr::from(network))
            }
            Some(address) => Self::Address(address),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Network(network) => write!(f, "{network}/64"),
            Self::Unknown => f.write_str("unknown"),
            Self::Others => f.write_str("others"),
        }
    }
}

/// What becomes of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
    /// A line of its own.
    Shown,
    /// A part of the next count.
    Counted,
}

/// Refusals that have no line of their own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) reason: &'static str,
    pub(super) source: Source,
    pub(super) count: u64,
    /// Within this time.
    pub(super) period: Duration,
}

#[derive(Default)]
struct Table {
    reasons: HashMap<&'static str, HashMap<Source, Open>>,
    /// Whether a task waits for what is due.
    is_watched: bool,
}

/// A time in which refusals are counted.
struct Open {
    ends: Instant,
    count: u64,
}

impl Table {
    /// Notes a refusal, after everything that was due.
    fn note(&mut self, reason: &'static str, address: Option<IpAddr>, now: Instant) -> Noted {
        let open = self.reasons.entry(reason).or_default();
        let mut source = Source::of(address);
        if !open.contains_key(&source) && open.len() >= MAX_ADDRESSES {
            source = Source::Others;
        }
        if let Some(open) = open.get_mut(&source) {
            open.count += 1;
            return Noted::Counted;
        }
        open.insert(source, Open { ends: now + period(reason), count: 0 });
        Noted::Shown
    }

    /// The counts whose time is over. Where there is one, the next time begins.
    fn due(&mut self, now: Instant) -> Vec<Count> {
        let mut due = Vec::new();
        for (reason, open) in &mut self.reasons {
            let period = period(reason);
            open.retain(|source, open| {
                if now < open.ends {
                    return true;
                }
                let count = std::mem::take(&mut open.count);
                open.ends = now + period;
                due.extend((count > 0).then_some(Count { reason, source: *source, count, period }));
                count > 0
            });
        }
        due
    }

    /// When the next count is due. With none there is nothing to watch any more.
    fn next_due(&mut self) -> Option<Instant> {
        let open = self.reasons.values().flat_map(HashMap::values);
        let next = open.filter(|open| open.count > 0).map(|open| open.ends).min();
        self.is_watched = next.is_some();
        next
    }
}

fn period(reason: &str) -> Duration {
    if reason == reason::CREDENTIALS_MISSING { PERIOD_OF_MISSING } else { PERIOD }
}

#[cfg(test)]
mod tests;

//! The addresses of a server, and the connections to each of them.
//!
//! Calls take turns among the addresses to which the name leads. One that cannot be reached
//! is left out while there are others, and tried again beside them.

use super::connection::Connection;
use super::dial::Dial;
use super::failure::{self, Failure};
use crate::upstream::CircuitBreaker;
use bytes::Bytes;
use h2::client::SendRequest;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How old what is known of a name may be before it is looked up again.
const AGAIN: Duration = Duration::from_secs(30);
/// After a failure it is looked up again no sooner than this.
const SOON: Duration = Duration::from_secs(1);
/// How often an address that cannot be reached is tried while others can be.
const PROBE: Duration = Duration::from_secs(5);

/// All connections to one server.
pub(super) struct Pool {
    dial: Arc<Dial>,
    /// Counts failed look-ups. Those of the addresses are like it.
    breaker: CircuitBreaker,
    /// So many are held to each address.
    connections: usize,
    next: AtomicUsize,
    known: Mutex<Known>,
    /// Is held by the one caller who looks the name up while the others wait for it.
    turn: tokio::sync::Mutex<()>,
}

/// What is known of the name.
struct Known {
    peers: Arc<[Arc<Peer>]>,
    looked_up: Option<Instant>,
}

/// One address.
pub(super) struct Peer {
    address: SocketAddr,
    breaker: Arc<CircuitBreaker>,
    connections: Vec<Connection>,
    probed: Mutex<Option<Instant>>,
}

impl Pool {
    /// Connections are made when they are needed, at least one to each address.
    pub(super) fn new(dial: Dial, connections: usize, breaker: CircuitBreaker) -> Self {
        let known = Known { peers: Arc::new([]), looked_up: None };
        Self {
            dial: Arc::new(dial),
            breaker,
            connections: connections.max(1),
            next: AtomicUsize::new(0),
            known: Mutex::new(known),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// A handle by which a request can be sent now, to the address whose turn it is.
    /// Nothing is sent before, so that any other address will do as well.
    pub(super) async fn ready(self: &Arc<Self>) -> Result<SendRequest<Bytes>, Failure> {
        let peers = self.peers().await?;
        match self.first_ready(&peers).await {
            Ok(requests) => Ok(requests),
            Err(failure) => match self.moved(&peers).await {
                Some(others) => self.first_ready(&others).await,
                None => Err(failure),
            },
        }
    }

    async fn first_ready(&self, peers: &[Arc<Peer>]) -> Result<SendRequest<Bytes>, Failure> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (failing, healthy): (Vec<_>, Vec<_>) =
            peers.iter().partition(|peer| peers.len() > 1 && peer.breaker.is_failing());
        let count = healthy.len().max(1);
        let (round, first) = (number / count, number % count);
        let mut failure = None;
        for peer in healthy.iter().cycle().skip(first).take(healthy.len()) {
            match peer.ready(round).await {
                Ok(requests) => {
                    failing.into_iter().for_each(Peer::probe);
                    return Ok(requests);
                }
                Err(error) => failure = Some(error),
            }
        }
        for peer in failing {
            match peer.ready(round).await {
                Ok(requests) => return Ok(requests),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(failure::nowhere))
    }

    /// The addresses, which are looked up first if none is known.
    async fn peers(self: &Arc<Self>) -> Result<Arc<[Arc<Peer>]>, Failure> {
        if let Some(known) = self.known_peers() {
            return Ok(known);
        }
        let _turn = self.turn.lock().await;
        if let Some(known) = self.known_peers() {
            return Ok(known);
        }
        if let Some(left) = self.breaker.open_for(Instant::now()) {
            return Err(failure::paused(left));
        }
        let found = self.dial.resolve().await;
        if let Err(error) = &found {
            tracing::warn!(%error, "the name of an upstream cannot be looked up");
            self.breaker.failed(Instant::now());
        }
        let peers = self.replace(found.map_err(|error| failure::unreachable(&error))?);
        self.breaker.succeeded();
        Ok(peers)
    }

    /// What is known, if it is. When it is old the name is looked up beside.
    fn known_peers(self: &Arc<Self>) -> Option<Arc<[Arc<Peer>]>> {
        let mut known = self.lock();
        if known.peers.is_empty() {
            return None;
        }
        if known.looked_up.is_some_and(|at| at.elapsed() >= AGAIN) {
            // One caller starts the look-up; the others go on with what is known.
            known.looked_up = Some(Instant::now());
            let pool = self.clone();
            tokio::spawn(async move { pool.look_up_again().await });
        }
        Some(known.peers.clone())
    }

    /// The addresses to which the name leads now, if there are others than those that have
    /// just failed. Of all who have met the failure one looks the name up.
    async fn moved(&self, failed: &[Arc<Peer>]) -> Option<Arc<[Arc<Peer>]>> {
        let _turn = self.turn.lock().await;
        let is_due = self.lock().looked_up.is_none_or(|at| at.elapsed() >= SOON);
        if is_due {
            self.look_up_again().await;
            self.lock().looked_up = Some(Instant::now());
        }
        let now = self.lock().peers.clone();
        let is_new = |peer: &Arc<Peer>| !failed.iter().any(|old| Arc::ptr_eq(old, peer));
        let new: Vec<_> = now.iter().filter(|peer| is_new(peer)).cloned().collect();
        (!new.is_empty()).then(|| new.into())
    }

    /// What was known stays when the name cannot be looked up.
    async fn look_up_again(&self) {
        match self.dial.resolve().await {
            Ok(addresses) => drop(self.replace(addresses)),
            Err(error) => tracing::warn!(%error, "the name of an upstream cannot be looked up"),
        }
    }

    /// From now on the name leads to these addresses. The connections to those that stay
    /// stay; of the others the calls in hand end as they would.
    pub(super) fn replace(&self, addresses: Vec<SocketAddr>) -> Arc<[Arc<Peer>]> {
        let mut known = self.lock();
        let peer = |address: SocketAddr| {
            let old = known.peers.iter().find(|peer| peer.address == address);
            old.cloned().unwrap_or_else(|| Arc::new(self.peer(address)))
        };
        let peers: Arc<[_]> = addresses.into_iter().map(peer).collect();
        *known = Known { peers: peers.clone(), looked_up: Some(Instant::now()) };
        peers
    }

    /// For tests: all was looked up and tried so long ago that it is done again when there
    /// is a reason.
    #[cfg(test)]
    pub(super) fn forget_times(&self) {
        let mut known = self.lock();
        known.looked_up = None;
        for peer in known.peers.iter() {
            *peer.probed.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    fn peer(&self, address: SocketAddr) -> Peer {
        let breaker = Arc::new(self.breaker.like_it());
        let connection = || Connection::new(self.dial.clone(), address, breaker.clone());
        Peer {
            address,
            connections: std::iter::repeat_with(connection).take(self.connections).collect(),
            breaker,
            probed: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    async fn ready(&self, round: usize) -> Result<SendRequest<Bytes>, Failure> {
        match self.connections.get(round % self.connections.len().max(1)) {
            Some(connection) => connection.ready().await,
            None => Err(failure::nowhere()),
        }
    }

    /// Tries whether it can be reached again, beside the calls.
    fn probe(self: &Arc<Self>) {
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        if probed.is_none_or(|at| at.elapsed() >= PROBE) {
            *probed = Some(Instant::now());
            let peer = self.clone();
            tokio::spawn(async move {
                // A connection that stands is as good as a new one.
                if peer.ready(0).await.is_ok() {
                    peer.breaker.succeeded();
                }
            });
        }
    }
}

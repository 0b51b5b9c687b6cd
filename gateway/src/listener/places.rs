//! How many connections there are, and from where.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What holds for all connections together, and for those of one address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    pub(super) connections: usize,
    pub(super) per_address: usize,
}

/// The places of a listener.
#[derive(Clone, Debug)]
pub(super) struct Places {
    most: Most,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The place of one connection, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    address: IpAddr,
    taken: Arc<Mutex<Taken>>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// There are as many connections as there may be.
    All,
    /// There are as many from this address.
    Address,
}

impl Places {
    pub(super) fn new(most: Most) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// Takes a place for a connection from `address`.
    pub(super) fn take(&self, address: IpAddr) -> Result<Place, Full> {
        let address = counted_as(address);
        let mut taken = lock(&self.taken);
        if taken.all >= self.most.connections {
            return Err(Full::All);
        }
        let here = taken.by_address.entry(address).or_default();
        if *here >= self.most.per_address {
            return Err(Full::Address);
        }
        *here += 1;
        taken.all += 1;
        Ok(Place { address, taken: self.taken.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.all -= 1;
        if let Entry::Occupied(mut here) = taken.by_address.entry(self.address) {
            *here.get_mut() -= 1;
            if *here.get() == 0 {
                here.remove();
            }
        }
    }
}

/// Of IPv6 everybody has a network of 64 bits to choose addresses from.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 => v4,
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_counted_together_and_by_address_and_given_back() {
        let places = Places::new(Most { connections: 3, per_address: 2 });
        let first = places.take(ip("10.0.0.1")).unwrap();
        let _second = places.take(ip("10.0.0.1")).unwrap();
        assert_eq!(places.take(ip("::ffff:10.0.0.1")).unwrap_err(), Full::Address);
        let third = places.take(ip("10.0.0.2")).unwrap();
        assert_eq!(places.take(ip("10.0.0.3")).unwrap_err(), Full::All);
        drop((first, third));
        assert_eq!(lock(&places.taken).by_address.len(), 1, "who is gone is forgotten");
        let _again = places.take(ip("10.0.0.1")).unwrap();
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let places = Places::new(Most { connections: 9, per_address: 1 });
        let _first = places.take(ip("2001:db8::1")).unwrap();
        assert_eq!(places.take(ip("2001:db8::ffff:1")).unwrap_err(), Full::Address);
        assert!(places.take(ip("2001:db8:0:1::1")).is_ok());
    }
}

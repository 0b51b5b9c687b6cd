//! Which addresses may be called: public ones, and what the deployment allows beyond.
//!
//! Whoever submits a job chooses the URL, and the sender stands inside of somebody's
//! network. So names are resolved here, every address is judged, and the connection is
//! made to an address that was judged: between the look and the call nothing can change.

use hyper_util::client::legacy::connect::dns::Name;
use ipnet::IpNet;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::Service;

/// What the registries of special addresses (RFC 6890 and its companions) keep from the
/// public internet, and what hides one of those in an IPv6 address is judged by that.
const SPECIAL: [&str; 29] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/96",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "64:ff9b:1::/48",
];

/// The addresses that may be called.
#[derive(Clone, Debug)]
pub struct Networks {
    special: Arc<Vec<IpNet>>,
    allowed: Arc<Vec<IpNet>>,
}

impl Networks {
    /// Public addresses, and these networks.
    #[must_use]
    pub fn public_and(allowed: Vec<IpNet>) -> Self {
        let special = SPECIAL.iter().filter_map(|text| text.parse().ok()).collect();
        Self { special: Arc::new(special), allowed: Arc::new(allowed) }
    }

    /// Whether an address may be called.
    #[must_use]
    pub fn allow(&self, address: IpAddr) -> bool {
        if self.allowed.iter().any(|net| net.contains(&address)) {
            return true;
        }
        match embedded(address) {
            Some(inner) => self.allow(inner),
            None => !self.special.iter().any(|net| net.contains(&address)),
        }
    }
}

/// The IPv4 address that is meant by an IPv6 address: mapped, NAT64, or 6to4.
fn embedded(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else { return None };
    let of = |bytes: [u8; 4]| Some(IpAddr::from(bytes));
    let o = v6.octets();
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            of([o[12], o[13], o[14], o[15]])
        }
        [0x2002, ..] => of([o[2], o[3], o[4], o[5]]),
        _ => None,
    }
}

/// Resolves names to addresses that may be called.
#[derive(Clone, Debug)]
pub(super) struct Resolver(pub(super) Networks);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let networks = self.0.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let right: Vec<_> = found.iter().copied().filter(|a| networks.allow(a.ip())).collect();
            if right.is_empty() && !found.is_empty() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, FORBIDDEN));
            }
            Ok(right.into_iter())
        })
    }
}

/// What is said about a host that may not be called, and no more.
pub(super) const FORBIDDEN: &str = "its address may not be called from here";

/// Whether a host that is an address may be called; names are judged when they are
/// resolved.
pub(super) fn may_be_called(host: &str, networks: &Networks) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match (bare.parse::<IpAddr>(), host.starts_with('[')) {
        (Ok(address), _) => networks.allow(address),
        // A zone, or nonsense.
        (Err(_), true) => false,
        (Err(_), false) => bare.parse::<Ipv6Addr>().is_err(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(allowed: &[&str]) -> Networks {
        Networks::public_and(allowed.iter().map(|net| net.parse().unwrap()).collect())
    }

    #[test]
    fn every_special_network_is_known() {
        assert_eq!(networks(&[]).special.len(), SPECIAL.len());
    }

    #[test]
    fn only_public_addresses_are_called() {
        for public in
            ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
        {
            assert!(networks(&[]).allow(public.parse().unwrap()), "{public}");
        }
        for special in [
            "127.0.0.1",
            "127.1.2.3",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "169.254.170.2",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.2.1",
            "203.0.113.9",
            "240.0.0.1",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::",
            "::127.0.0.1",
            "64:ff9b:1::1",
            "fec0::1",
        ] {
            assert!(!networks(&[]).allow(special.parse().unwrap()), "{special}");
        }
    }

    #[test]
    fn a_deployment_may_allow_networks_of_its_own() {
        let ours = networks(&["10.1.0.0/16", "::1/128"]);
        assert!(ours.allow("10.1.2.3".parse().unwrap()));
        assert!(ours.allow("::ffff:10.1.2.3".parse().unwrap()));
        assert!(ours.allow("::1".parse().unwrap()));
        assert!(!ours.allow("10.2.2.3".parse().unwrap()));
    }

    #[test]
    fn hosts_that_are_addresses_are_judged_at_once() {
        let networks = networks(&[]);
        assert!(may_be_called("example.com", &networks));
        assert!(may_be_called("8.8.8.8", &networks));
        for host in ["127.0.0.1", "[::1]", "[fe80::1%25eth0]", "[::ffff:10.0.0.1]"] {
            assert!(!may_be_called(host, &networks), "{host}");
        }
    }

    #[tokio::test]
    async fn names_are_judged_by_what_they_resolve_to() {
        // The last are the same address in the ways of inet_aton.
        for name in ["localhost", "127.1", "2130706433", "0x7f.1", "0177.0.0.1"] {
            let resolved = Resolver(networks(&[])).call(name.parse().unwrap()).await;
            assert!(resolved.is_err(), "{name}");
        }
        let allowed = Resolver(networks(&["127.0.0.0/8", "::1/128"]));
        assert!(allowed.clone().call("localhost".parse().unwrap()).await.unwrap().next().is_some());
    }
}

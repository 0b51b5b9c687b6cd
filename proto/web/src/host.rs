//! The host that a request is for, and the names that a server may have.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest name that DNS has.
const LONGEST: usize = 253;

/// A host, as a request names it, with its port if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    pub(crate) host: Host,
    pub(crate) port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// No DNS server has a say in what an address leads to.
    Address(IpAddr),
    /// In lower case, without a dot at the end.
    Name(String),
}

impl Authority {
    /// Reads `host` or `host:port`. Everything that is not exactly that is nothing: user
    /// names, several hosts, other spellings of addresses.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']')?;
            let port = match rest {
                "" => None,
                rest => port(rest.strip_prefix(':')?)?,
            };
            return Some(Self { host: Host::Address(v6(address)?.into()), port });
        }
        // Some clients of gRPC leave the brackets out.
        if let Some(address) = v6(text) {
            return Some(Self { host: Host::Address(address.into()), port: None });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, rest)) => (host, port(rest)?),
            None => (text, None),
        };
        Some(Self { host: Host::parse(host)?, port })
    }
}

impl Host {
    fn parse(text: &str) -> Option<Self> {
        // The root of DNS.
        let text = text.strip_suffix('.').unwrap_or(text);
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        is_name(text).then(|| Self::Name(text.to_ascii_lowercase()))
    }

    /// Whether it is the address of a machine. The unspecified ones are of none, and lead to
    /// this one: browsers say nothing of the pages that use them.
    pub(crate) fn is_address(&self) -> bool {
        matches!(self, Self::Address(address) if !address.to_canonical().is_unspecified())
    }

    /// Whether it leads to this machine, whoever answers for DNS: no such name can be
    /// registered, and browsers do not ask for it.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Address(address) => address.to_canonical().is_loopback(),
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }
}

/// `Some(None)` for no digits at all, which is allowed after the colon.
fn port(text: &str) -> Option<Option<u16>> {
    match text {
        "" => Some(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok().map(Some),
        _ => None,
    }
}

/// An address of IPv6, with or without the zone of a machine's interface.
fn v6(text: &str) -> Option<Ipv6Addr> {
    let (address, zone) = text.split_once('%').unwrap_or((text, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~%".contains(c);
    address.parse().ok().filter(|_| zone.chars().all(plain))
}

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.chars().all(plain);
    text.len() <= LONGEST && text.split('.').all(label)
}

/// Names that a server answers to: `queuebridge`, or `*.internal` for all below it, with a
/// port to hold for this one only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    name: String,
    below: bool,
    port: Option<u16>,
}

impl HostPattern {
    pub(crate) fn fits(&self, authority: &Authority) -> bool {
        let Host::Name(name) = &authority.host else { return false };
        let fits = match name.strip_suffix(self.name.as_str()) {
            Some(rest) if self.below => rest.len() > 1 && rest.ends_with('.'),
            Some(rest) => rest.is_empty(),
            None => false,
        };
        fits && (self.port.is_none() || self.port == authority.port)
    }
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        match Authority::parse(name.as_bytes()) {
            Some(Authority { host: Host::Name(name), port }) => Ok(Self { name, below, port }),
            _ => Err("expected a name such as `queuebridge` or `*.internal`".to_owned()),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.below { "*." } else { "" }, self.name)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Authority> {
        Authority::parse(text.as_bytes())
    }

    #[test]
    fn addresses_and_names_are_told_apart() {
        for text in ["127.0.0.1", "10.1.2.3:50051", "[::1]:50051", "[::1]", "::1", "[fe80::1%25e]"]
        {
            assert!(matches!(parsed(text).unwrap().host, Host::Address(_)), "{text}");
        }
        for text in ["localhost", "LOCALHOST:1", "a_b.c-d.", "127.0.0.1.evil.example", "0x7f.1"] {
            assert!(matches!(parsed(text).unwrap().host, Host::Name(_)), "{text}");
        }
        let name = parsed("Queue.Example.:80").unwrap();
        assert_eq!(name, Authority { host: Host::Name("queue.example".into()), port: Some(80) });
        assert_eq!(parsed("localhost:").unwrap().port, None);
    }

    #[test]
    fn nothing_else_is_a_host() {
        let long = "a.".repeat(130);
        for text in [
            "",
            ".",
            "a..b",
            ".localhost",
            "user@localhost",
            "localhost@evil.example",
            "localhost, evil.example",
            "localhost evil.example",
            "localhost/evil",
            "localhost:1:2",
            "localhost:x",
            "localhost:65536",
            "localhost:+1",
            "[::1",
            "[::1]x",
            "[::1].evil.example",
            "[localhost]",
            "[127.0.0.1]",
            "[::1%/]",
            "%2Ftmp%2Fsocket",
            "b\u{fc}cher.example",
            "localhost\0",
            &long,
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
        assert_eq!(Authority::parse(b"localhost\xff"), None);
    }

    #[test]
    fn a_pattern_is_a_name_or_all_names_below_one() {
        let fits = |pattern: &str, text: &str| {
            pattern.parse::<HostPattern>().unwrap().fits(&parsed(text).unwrap())
        };
        for (pattern, text, expected) in [
            ("queuebridge", "QueueBridge:50051", true),
            ("queuebridge", "queuebridge.", true),
            ("queuebridge", "a.queuebridge", false),
            ("queuebridge", "notqueuebridge", false),
            ("queuebridge:80", "queuebridge:80", true),
            ("queuebridge:80", "queuebridge", false),
            ("*.internal", "a.internal", true),
            ("*.internal", "a.b.internal:1", true),
            ("*.internal", "internal", false),
            ("*.internal", "xinternal", false),
            ("*.internal", "a.internal.evil.example", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
        for wrong in ["", "*", "*.", "*.*.a", "a.*", "https://a", "a/b", "10.0.0.1", "[::1]", "a b"]
        {
            assert!(wrong.parse::<HostPattern>().is_err(), "{wrong}");
        }
        for text in ["queuebridge", "*.internal", "a.b:80"] {
            assert_eq!(text.parse::<HostPattern>().unwrap().to_string(), text);
        }
    }
}

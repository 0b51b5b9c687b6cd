//! What the other side of the port may take.

use super::read::yes_or_no;
use super::reader::Reader;
use super::values::{bytes, time, whole};
use super::{DAY, format_duration, size};
use std::fmt;
use std::time::Duration;

const KIB: usize = 1024;
const SECOND: Duration = Duration::from_secs(1);

/// What callers may take of the port before they are known. Everything beyond it is refused
/// or cut off, and costs nobody else anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Connections at once, 1 to 1,000,000; each needs a file descriptor. Further ones are
    /// closed as soon as they are accepted. Default: 10,000.
    pub connections: usize,
    /// The same from one address; of IPv6 from one network of 64 bits. Default: no limit,
    /// because a load balancer has one address for all.
    pub connections_per_address: Option<usize>,
    /// From the connection to the first bytes of HTTP, with the handshake of TLS; 1 s to
    /// 5 min. Default: 10 s.
    pub handshake_timeout: Duration,
    /// Calls that one connection may have open, 1 to 65,536. Well-behaved clients hold the
    /// others back. Default: 1,024.
    pub streams: u32,
    /// All names and values of a request's headers together, and 32 bytes for each, 8 KiB to
    /// 1 MiB. Metadata of 8 KiB are taken in any case. Default: 32 KiB.
    pub header_bytes: u32,
    /// Whether a connection of HTTP/1.1 may have another request after its answer. A load
    /// balancer that holds idle ones for longer than they are kept open here, 30 s, would
    /// send requests into closed ones. Default: yes.
    pub http1_keep_alive: bool,
    /// After this time clients of HTTP/2 are told to connect anew; what is open goes on. It
    /// spreads them over gateways that were added. 10 s to 365 days. Default: never.
    pub connection_age: Option<Duration>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: None,
            handshake_timeout: SECOND * 10,
            streams: 1024,
            header_bytes: 32 * 1024,
            http1_keep_alive: true,
            connection_age: None,
        }
    }
}

/// Reads the section.
pub(super) fn read(reader: &mut Reader) -> LimitsConfig {
    let mut limits = LimitsConfig::default();
    let connections = || whole(1..=1_000_000usize);
    reader.set("limits.connections", &mut limits.connections, connections());
    limits.connections_per_address = reader.read("limits.connections_per_address", connections());
    let wait = time(SECOND..=SECOND * 300);
    reader.set("limits.handshake_timeout", &mut limits.handshake_timeout, wait);
    reader.set("limits.streams", &mut limits.streams, whole(1..=65_536u32));
    let header_bytes = |value: &_| {
        let bytes = bytes(8 * KIB..=1024 * KIB)(value)?;
        u32::try_from(bytes).map_err(|error| error.to_string())
    };
    reader.set("limits.header_bytes", &mut limits.header_bytes, header_bytes);
    reader.set("limits.http1_keep_alive", &mut limits.http1_keep_alive, yes_or_no);
    limits.connection_age = reader.read("limits.connection_age", time(SECOND * 10..=DAY * 365));
    limits
}

/// The section as it stands in the configuration.
impl fmt::Display for LimitsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n[limits]")?;
        writeln!(f, "connections = {}", self.connections)?;
        if let Some(most) = self.connections_per_address {
            writeln!(f, "connections_per_address = {most}")?;
        }
        writeln!(f, "handshake_timeout = \"{}\"", format_duration(self.handshake_timeout))?;
        writeln!(f, "streams = {}", self.streams)?;
        let header_bytes = usize::try_from(self.header_bytes).unwrap_or(usize::MAX);
        writeln!(f, "header_bytes = \"{}\"", size::format(header_bytes))?;
        writeln!(f, "http1_keep_alive = {}", self.http1_keep_alive)?;
        match self.connection_age {
            Some(age) => writeln!(f, "connection_age = \"{}\"", format_duration(age)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (LimitsConfig, usize) {
        let mut reader = Reader::new(toml::from_str(text).unwrap(), []);
        let limits = super::read(&mut reader);
        (limits, reader.finish().len())
    }

    #[test]
    fn what_is_shown_is_what_was_read() {
        let all = "[limits]\nconnections = 5\nconnections_per_address = 2\n\
                   handshake_timeout = \"3s\"\nstreams = 7\nheader_bytes = \"64KiB\"\n\
                   http1_keep_alive = false\nconnection_age = \"1h\"\n";
        for text in ["", all] {
            let (limits, mistakes) = read(text);
            assert_eq!((read(&limits.to_string()), mistakes), ((limits, 0), 0), "{text}");
        }
        assert_eq!(read(all).0.to_string(), format!("\n{all}"));
    }

    #[test]
    fn what_would_lock_everybody_out_is_refused() {
        let (limits, mistakes) = read(
            "[limits]\nconnections = 0\nconnections_per_address = 0\nhandshake_timeout = \"0s\"\n\
             streams = 0\nheader_bytes = 100\nhttp1_keep_alive = \"no\"\n\
             connection_age = \"1s\"",
        );
        assert_eq!((limits, mistakes), (LimitsConfig::default(), 7));
    }
}

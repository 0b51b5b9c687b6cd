//! Points in time as the wire and the stores keep them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

/// How far two clocks of one deployment may be apart. A job is judged expired
/// by a reader only when its expiry is this far in the past, so that a worker
/// whose clock is behind still gets its result in.
pub const CLOCK_SKEW: Duration = Duration::from_secs(2);

impl UnixMillis {
    /// This point moved into the future; saturates.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    /// How far `later` lies ahead; zero when it does not.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }

    /// Whole seconds since the epoch, rounded up: what a TTL attribute wants.
    #[must_use]
    pub fn ceil_secs(self) -> u64 {
        self.0.div_ceil(1000)
    }

    /// The Protobuf form.
    #[must_use]
    pub fn to_proto(self) -> prost_types::Timestamp {
        prost_types::Timestamp {
            seconds: i64::try_from(self.0 / 1000).unwrap_or(i64::MAX),
            nanos: i32::try_from(self.0 % 1000).unwrap_or(0) * 1_000_000,
        }
    }

    /// From the Protobuf form, rounded down to milliseconds. `None` when it is
    /// not a valid timestamp, or lies before 1970.
    #[must_use]
    pub fn from_proto(at: &prost_types::Timestamp) -> Option<Self> {
        let nanos = u64::try_from(at.nanos).ok().filter(|n| *n < 1_000_000_000)?;
        let seconds = u64::try_from(at.seconds).ok()?;
        Some(Self(seconds.checked_mul(1000)? + nanos / 1_000_000))
    }
}

impl From<SystemTime> for UnixMillis {
    fn from(at: SystemTime) -> Self {
        Self(millis(at.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The Protobuf form of a duration.
#[must_use]
pub fn duration_to_proto(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// From the Protobuf form; `None` when it is negative or out of range.
#[must_use]
pub fn duration_from_proto(duration: &prost_types::Duration) -> Option<Duration> {
    let nanos = u32::try_from(duration.nanos).ok().filter(|n| *n < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(duration.seconds).ok()?, nanos))
}

/// Reads the value of `grpc-timeout`: at most eight digits and a unit, as the
/// protocol of gRPC over HTTP/2 has it.
#[must_use]
pub fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        for (text, time) in [
            ("250m", Duration::from_millis(250)),
            ("5S", Duration::from_secs(5)),
            ("2M", Duration::from_secs(120)),
            ("1H", Duration::from_secs(3600)),
            ("7u", Duration::from_micros(7)),
            ("99999999n", Duration::from_nanos(99_999_999)),
        ] {
            assert_eq!(grpc_timeout(text), Some(time), "{text}");
        }
        for bad in ["", "S", "5", "5x", "5s", "+5S", "-1S", "123456789S", "1é"] {
            assert_eq!(grpc_timeout(bad), None, "{bad}");
        }
    }

    #[test]
    fn protobuf_times_survive_the_round_trip_and_refuse_nonsense() {
        let at = UnixMillis(1_700_000_000_123);
        assert_eq!(UnixMillis::from_proto(&at.to_proto()), Some(at));
        for (seconds, nanos) in [(-1, 0), (0, -1), (0, 1_000_000_000), (i64::MAX, 0)] {
            assert_eq!(UnixMillis::from_proto(&prost_types::Timestamp { seconds, nanos }), None);
        }
        for (seconds, nanos) in [(-1, 0), (0, -1), (1, 1_000_000_000)] {
            assert_eq!(duration_from_proto(&prost_types::Duration { seconds, nanos }), None);
        }
        let half = Duration::from_millis(500);
        assert_eq!(duration_from_proto(&duration_to_proto(half)), Some(half));
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(UnixMillis(u64::MAX).plus(Duration::MAX), UnixMillis(u64::MAX));
        assert_eq!(UnixMillis(5).until(UnixMillis(3)), Duration::ZERO);
        assert_eq!(UnixMillis(1001).ceil_secs(), 2);
    }
}

//! Durations as people write them: `90s`, `5m`, `12h`, `30d`, `250ms`.

use std::time::Duration;

/// The units, the largest first, in milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a whole number with one unit of `ms`, `s`, `m`, `h` and `d`.
///
/// # Errors
/// What was expected.
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    let expected = "a whole number with a unit: \"250ms\", \"90s\", \"5m\", \"12h\" or \"30d\"";
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number = number.parse::<u64>().map_err(|_| expected)?;
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(expected)?;
    number.checked_mul(*millis).map(Duration::from_millis).ok_or("a shorter time")
}

/// The shortest form that [`parse_duration`] reads back, cut to milliseconds.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let total = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if total == 0 {
        return "0s".to_owned();
    }
    let (name, millis) =
        UNITS.into_iter().find(|(_, millis)| total.is_multiple_of(*millis)).unwrap_or(("ms", 1));
    format!("{}{name}", total / millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_written_back() {
        for (text, millis) in [
            ("250ms", 250),
            ("90s", 90_000),
            ("5m", 300_000),
            ("12h", 43_200_000),
            ("30d", 2_592_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)));
            assert_eq!(format_duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(format_duration(Duration::ZERO), "0s");
        assert_eq!(format_duration(Duration::from_secs(120)), "2m");
    }

    #[test]
    fn nothing_is_guessed() {
        for bad in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "+5s",
            "1.5h",
            "5M",
            "5min",
            "1h30m",
            "5µs",
            "99999999999999999999s",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
        assert!(parse_duration("300000000000000000d").is_err());
    }
}

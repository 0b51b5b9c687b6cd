//! Durations as people write them: `90s`, `5m`, `1h30m`, `30d`, `250ms`.

use std::time::Duration;

/// The units, the largest first, in milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads whole numbers, each with a unit of `ms`, `s`, `m`, `h` and `d`; the larger unit
/// stands before the smaller.
///
/// # Errors
/// What was expected.
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    let expected = "whole numbers with units: \"250ms\", \"90s\", \"5m\", \"1h30m\" or \"30d\"";
    let (mut rest, mut total, mut units) = (text, 0_u64, UNITS.as_slice());
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, after) = after.split_at(letters);
        let number = number.parse::<u64>().map_err(|_| expected)?;
        let at = units.iter().position(|(name, _)| *name == unit).ok_or(expected)?;
        let millis = number.checked_mul(units[at].1).and_then(|part| total.checked_add(part));
        total = millis.ok_or("a shorter time")?;
        (rest, units) = (after, &units[at + 1..]);
        if rest.is_empty() {
            return Ok(Duration::from_millis(total));
        }
    }
}

/// The form that [`parse_duration`] reads back, cut to milliseconds: `4d`, `1h30m`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if left == 0 {
        return "0s".to_owned();
    }
    // Up to two minutes, seconds are what people count in.
    let counted = left <= 120_000 && !left.is_multiple_of(60_000);
    let mut text = String::new();
    for (name, millis) in UNITS.into_iter().filter(|(name, _)| !(counted && *name == "m")) {
        if left >= millis {
            text.push_str(&format!("{}{name}", left / millis));
            left %= millis;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_written_back() {
        for (text, millis) in [
            ("250ms", 250),
            ("1s500ms", 1_500),
            ("90s", 90_000),
            ("2m", 120_000),
            ("2m30s", 150_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("12h", 43_200_000),
            ("1d12h", 129_600_000),
            ("4d", 345_600_000),
            ("30d", 2_592_000_000),
            ("1d1h1m1s1ms", 90_061_001),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)));
            assert_eq!(format_duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(format_duration(Duration::ZERO), "0s");
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        assert_eq!(parse_duration("90m"), parse_duration("1h30m"));
        let longest = Duration::from_millis(u64::MAX);
        assert_eq!(parse_duration(&format_duration(longest)), Ok(longest));
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
            "1h30",
            "1h 30m",
            "30m1h",
            "1h1h",
            "5µs",
            "99999999999999999999s",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
        assert!(parse_duration("300000000000000000d").is_err());
        assert!(parse_duration("213503982334d24h").is_err());
    }
}

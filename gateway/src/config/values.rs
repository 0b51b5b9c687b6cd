//! How single values are parsed. Every parser takes text as well, because
//! that is what the environment holds, and fails with what it expected.

use super::{format_duration, parse_duration, size};
use http::uri::Authority;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Value;

type Parsed<T> = Result<T, String>;

/// Text that `accept` turns into a value.
pub(super) fn text<T>(
    expected: &str,
    accept: impl FnOnce(&str) -> Option<T>,
) -> impl FnOnce(&Value) -> Parsed<T> {
    move |value| value.as_str().and_then(accept).ok_or_else(|| expected.to_owned())
}

/// A whole number within a range.
pub(super) fn whole<T>(range: RangeInclusive<T>) -> impl FnOnce(&Value) -> Parsed<T>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    move |value| {
        let number = match value {
            Value::String(text) => text.parse().ok(),
            value => value.as_integer(),
        };
        number
            .and_then(|number| T::try_from(number).ok())
            .filter(|number| range.contains(number))
            .ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()))
    }
}

/// A size in bytes within a range.
pub(super) fn bytes(range: RangeInclusive<usize>) -> impl FnOnce(&Value) -> Parsed<usize> {
    move |value| {
        let bytes = match value {
            Value::String(text) => size::parse(text)?,
            value => value
                .as_integer()
                .and_then(|number| usize::try_from(number).ok())
                .ok_or("a number of bytes: 65536, \"256KiB\" or \"4MiB\"")?,
        };
        if range.contains(&bytes) {
            return Ok(bytes);
        }
        Err(format!("{} to {}", size::format(*range.start()), size::format(*range.end())))
    }
}

/// A time within a range.
pub(super) fn time(range: RangeInclusive<Duration>) -> impl FnOnce(&Value) -> Parsed<Duration> {
    move |value| {
        // Text of the wrong form and a number without a unit are one mistake.
        let duration = parse_duration(value.as_str().unwrap_or_default())?;
        if range.contains(&duration) {
            return Ok(duration);
        }
        let (least, most) = (format_duration(*range.start()), format_duration(*range.end()));
        Err(format!("{least} to {most}"))
    }
}

/// One of a few words.
pub(super) fn word<T: Copy>(words: &[(&str, T)]) -> impl FnOnce(&Value) -> Parsed<T> {
    move |value| {
        let chosen = words.iter().find(|(word, _)| value.as_str() == Some(word));
        chosen.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            words.join(" or ")
        })
    }
}

/// Whether the port of a URL, if there is one, is from 1 to 65535. A larger one reads as none:
/// the scheme's own would be called.
pub(super) fn has_right_port(authority: &Authority) -> bool {
    let port = authority.port_u16();
    port != Some(0) && (port.is_some() || authority.as_str().ends_with(authority.host()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_those_of_tcp() {
        let right = |text: &str| has_right_port(&text.parse().unwrap());
        for text in ["a.example", "a.example:1", "a.example:65535", "[::1]", "[::1]:443"] {
            assert!(right(text), "{text}");
        }
        for text in ["a.example:0", "a.example:65536", "[::1]:99999", "127.0.0.1:100000"] {
            assert!(!right(text), "{text}");
        }
    }
}

//! `google.protobuf.Timestamp` and `Duration` as texts.

/// From 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// Ten thousand years.
const DURATION_SECONDS: i64 = 315_576_000_000;
const NANOS: i32 = 1_000_000_000;
const DAY: i64 = 86_400;

/// A moment as RFC 3339 writes it.
pub(super) fn timestamp(seconds: i64, nanos: i32) -> Result<String, String> {
    if !SECONDS.contains(&seconds) || !(0..NANOS).contains(&nanos) {
        return Err(format!("a timestamp of {seconds} seconds and {nanos} nanoseconds is none"));
    }
    let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = fraction(nanos.unsigned_abs());
    Ok(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z"))
}

/// Seconds and nanoseconds of a text as RFC 3339 has it, in capital letters.
pub(super) fn read_timestamp(text: &str) -> Result<(i64, i32), String> {
    parse_timestamp(text).ok_or_else(|| format!("{text:?} is no time as RFC 3339 writes it"))
}

fn parse_timestamp(text: &str) -> Option<(i64, i32)> {
    let (date, rest) = text.split_at_checked(10)?;
    let (time, rest) = rest.strip_prefix('T')?.split_at_checked(8)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let end = rest.find(['Z', '+', '-'])?;
    let (fraction, zone) = rest.split_at(end);
    let nanos = match fraction.strip_prefix('.') {
        Some(digits) => parse_fraction(digits)?,
        None if fraction.is_empty() => 0,
        None => return None,
    };
    let offset = match zone {
        "Z" => 0,
        zone => {
            let (sign, zone) = zone.split_at(1);
            let [hours, minutes] = numbers(zone, ':', [2, 2])?;
            let offset = hours * 3600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some(if sign == "-" { -offset } else { offset })?
        }
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days(year, month, day);
    if civil(days) != (year, month, day) {
        return None;
    }
    let seconds = days * DAY + hour * 3600 + minute * 60 + second - offset;
    SECONDS.contains(&seconds).then_some((seconds, nanos))
}

/// Seconds with an `s`.
pub(super) fn duration(seconds: i64, nanos: i32) -> Result<String, String> {
    let signs_differ = (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0);
    let is_long = seconds.unsigned_abs() > DURATION_SECONDS.unsigned_abs();
    if is_long || nanos.unsigned_abs() >= NANOS.unsigned_abs() || signs_differ {
        return Err(format!("a duration of {seconds} seconds and {nanos} nanoseconds is none"));
    }
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    Ok(format!("{sign}{}{}s", seconds.unsigned_abs(), fraction(nanos.unsigned_abs())))
}

/// Seconds and nanoseconds of a text like `-1.5s`.
pub(super) fn read_duration(text: &str) -> Result<(i64, i32), String> {
    parse_duration(text).ok_or_else(|| format!("{text:?} is no duration like \"1.5s\""))
}

fn parse_duration(text: &str) -> Option<(i64, i32)> {
    let text = text.strip_suffix('s')?;
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (seconds, nanos) = match text.split_once('.') {
        Some((seconds, digits)) => (seconds, parse_fraction(digits)?),
        None => (text, 0),
    };
    let seconds: i64 = digits(seconds)?;
    (seconds <= DURATION_SECONDS).then_some((i64::from(sign) * seconds, sign * nanos))
}

/// Three, six or nine digits after a point, or none.
fn fraction(nanos: u32) -> String {
    match nanos {
        0 => String::new(),
        _ if nanos.is_multiple_of(1_000_000) => format!(".{:03}", nanos / 1_000_000),
        _ if nanos.is_multiple_of(1_000) => format!(".{:06}", nanos / 1_000),
        _ => format!(".{nanos:09}"),
    }
}

fn parse_fraction(text: &str) -> Option<i32> {
    if text.len() > 9 {
        return None;
    }
    let value: i64 = digits(text)?;
    let value = (text.len()..9).fold(value, |value, _| value * 10);
    i32::try_from(value).ok()
}

fn digits(text: &str) -> Option<i64> {
    let is = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is { text.parse().ok() } else { None }
}

/// Numbers of so many digits, with a sign between them.
fn numbers<const N: usize>(text: &str, between: char, lengths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(between);
    let mut numbers = [0; N];
    for (number, length) in numbers.iter_mut().zip(lengths) {
        *number = digits(parts.next().filter(|part| part.len() == length)?)?;
    }
    parts.next().is_none().then_some(numbers)
}

/// The days since 1970 of a date in the Gregorian calendar. Years begin with March, so that
/// the day that some have more comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month = (month + 9) % 12;
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

//! Sizes as people write them: `65536`, `256KiB`, `4MiB`.

const UNITS: [(&str, usize); 3] = [("MiB", 1024 * 1024), ("KiB", 1024), ("", 1)];

/// Reads a whole number of bytes, alone or with `KiB` or `MiB`.
///
/// # Errors
/// What was expected.
pub(super) fn parse(text: &str) -> Result<usize, &'static str> {
    let expected = "a number of bytes: 65536, \"256KiB\" or \"4MiB\"";
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number = number.parse::<usize>().map_err(|_| expected)?;
    let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(expected)?;
    number.checked_mul(*bytes).ok_or("a smaller size")
}

/// The shortest form that [`parse`] reads back.
pub(super) fn format(bytes: usize) -> String {
    let (name, unit) = UNITS
        .into_iter()
        .find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit))
        .unwrap_or(("", 1));
    format!("{}{name}", bytes / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_back() {
        for (text, bytes) in [("7", 7), ("256KiB", 262_144), ("4MiB", 4_194_304), ("0", 0)] {
            assert_eq!(parse(text), Ok(bytes));
            assert_eq!(format(bytes), text);
        }
        for bad in ["", "-1", "4MB", "4 MiB", "MiB", "1.5MiB", "99999999999999999MiB"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}

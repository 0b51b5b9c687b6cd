//! Reading the `traceparent` header of W3C Trace Context.

/// A `traceparent` that can be continued.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Traceparent<'a> {
    /// The trace: 32 hexadecimal digits, not all zero.
    pub trace_id: &'a str,
    /// The caller's span: 16 hexadecimal digits, not all zero.
    pub parent_id: &'a str,
    /// The caller records its span.
    pub sampled: bool,
}

impl<'a> Traceparent<'a> {
    /// Reads a header's value. Version 00 has four fields. A later version may have more,
    /// and its first four are read as those of version 00. `None` for any other text, which
    /// the specification treats like a header that is absent.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut fields = text.split('-');
        let (version, trace_id) = (fields.next()?, fields.next()?);
        let (parent_id, flags) = (fields.next()?, fields.next()?);
        let known = is_hex(version, 2) && version != "ff";
        let whole = version != "00" || fields.next().is_none();
        let valid = is_id(trace_id, 32) && is_id(parent_id, 16) && is_hex(flags, 2);
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        (known && whole && valid).then_some(Self { trace_id, parent_id, sampled })
    }
}

/// Whether it is of this many hexadecimal digits in lower case.
#[must_use]
pub fn is_hex(text: &str, digits: usize) -> bool {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == digits && text.bytes().all(digit)
}

/// Whether it is an id of this many hexadecimal digits: one of zeros only is none.
#[must_use]
pub fn is_id(text: &str, digits: usize) -> bool {
    is_hex(text, digits) && text.bytes().any(|b| b != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    #[test]
    fn the_first_four_fields_are_read_of_every_version() {
        for (version, flags, more, sampled) in [
            ("00", "01", "", true),
            ("00", "00", "", false),
            ("00", "ff", "", true),
            ("01", "01", "", true),
            ("cc", "02", "", false),
            ("01", "01", "-", true),
            ("01", "01", "-more-and-more", true),
        ] {
            let text = format!("{version}-{TRACE}-{PARENT}-{flags}{more}");
            let read = Traceparent { trace_id: TRACE, parent_id: PARENT, sampled };
            assert_eq!(Traceparent::parse(&text), Some(read), "{text}");
        }
    }

    #[test]
    fn what_the_specification_calls_invalid_is_none() {
        let valid = format!("00-{TRACE}-{PARENT}-01");
        for wrong in [
            String::new(),
            "nonsense".into(),
            "00-1-2-01".into(),
            valid[..54].into(),
            valid.to_uppercase(),
            format!("{valid}-"),
            format!("{valid}-more"),
            format!("{valid}0"),
            format!("0{valid}"),
            valid.replacen("00", "ff", 1),
            valid.replacen("00", "0g", 1),
            format!("00-{}-{PARENT}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}-{PARENT}-+1"),
            format!("01-{TRACE}-{PARENT}-01more"),
            format!("00_{TRACE}_{PARENT}_01"),
            format!("00-{TRACE}-{PARENT}"),
        ] {
            assert_eq!(Traceparent::parse(&wrong), None, "{wrong}");
        }
    }
}

//! Text that came from elsewhere, as a person may be shown it.
//!
//! Terminals obey control characters, a newline begins what looks like another line of a
//! log, and bidirectional characters change the order in which the rest is read. So whatever
//! cannot be seen is spelled out: `\n`, `\u{1b}`, `\u{202e}`. That are control characters,
//! separators of lines and paragraphs, format characters (bidirectional ones, those without
//! width, tags), variation selectors, letters without a shape, and what has no meaning in
//! Unicode. Spaces and combining marks stay as they are.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};
use std::io;

/// Shows a text on one line, whatever is in it.
#[derive(Clone, Copy, Debug)]
pub struct Printable<T>(pub T);

impl<T: Display> Display for Printable<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(formatter), "{}", self.0)
    }
}

/// Escapes what is written through it.
struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = 0;
        for (at, c) in text.char_indices().filter(|(_, c)| !is_visible(*c)) {
            self.0.write_str(&text[rest..at])?;
            write!(self.0, "{}", c.escape_default())?;
            rest = at + c.len_utf8();
        }
        self.0.write_str(&text[rest..])
    }
}

/// A text of JSON that shows the same characters escaped, `\u202e`, and is read as the same
/// value. It may have several lines.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    // Between its strings JSON has nothing but ASCII, and within them no raw newline.
    let is_plain = |c: char| is_visible(c) || c.is_ascii_whitespace();
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_plain(c) {
            escaped.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    Cow::Owned(escaped)
}

/// Writes lines of JSON as [`json`] shows them. Each write has whole lines.
#[derive(Debug)]
pub struct JsonLines<W>(pub W);

impl<W: io::Write> io::Write for JsonLines<W> {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.0.write_all(json(&String::from_utf8_lossy(lines)).as_bytes())?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Whether a person sees a character for what it is.
fn is_visible(c: char) -> bool {
    match c {
        ' '..='~' => true,
        '\u{2028}' | '\u{2029}' => false,
        // Letters, marks and symbols that have no shape; to the standard library they are
        // as printable as others.
        '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' => false,
        '\u{180b}'..='\u{180f}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' => false,
        '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => false,
        '\u{16fe4}' | '\u{1d159}' => false,
        c if c.is_whitespace() => !c.is_control(),
        c => {
            // What the standard library escapes is not printable. A mark it escapes only
            // where there is nothing before it to stand on.
            let mut pair = [b'a', 0, 0, 0, 0];
            let end = 1 + c.encode_utf8(&mut pair[1..]).len();
            let pair = str::from_utf8(&pair[..end]);
            pair.is_ok_and(|pair| pair.escape_debug().eq(pair.chars()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// Everything that commands a terminal, begins a line or turns the order round, and what
    /// cannot be seen at all.
    fn misleading() -> Vec<char> {
        [0x00..=0x1f, 0x7f..=0x9f, 0x2028..=0x202e, 0x2066..=0x2069, 0x200b..=0x200f]
            .into_iter()
            .chain([0xad..=0xad, 0x61c..=0x61c, 0x180b..=0x180f, 0x2060..=0x2064, 0x3164..=0x3164])
            .chain([0xfe00..=0xfe0f, 0xfeff..=0xfeff, 0xe0001..=0xe0001, 0xe0020..=0xe007f])
            .chain([0xe0100..=0xe01ef, 0xe000..=0xe000, 0x10_ffff..=0x10_ffff])
            .chain([0x16fe4..=0x16fe4, 0x1d159..=0x1d159])
            .flatten()
            .map(|number: u32| char::from_u32(number).unwrap())
            .collect()
    }

    #[test]
    fn what_cannot_be_seen_is_spelled_out() {
        for c in misleading() {
            let shown = Printable(format!("a{c}b")).to_string();
            assert!(shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{shown:?}");
            assert!(shown.starts_with("a\\") && shown.ends_with('b'), "{shown:?}");
        }
        let said = "line\nother\r\t\x1b[2J\u{9b}2J \u{202e}gpj.exe";
        let shown = "line\\nother\\r\\t\\u{1b}[2J\\u{9b}2J \\u{202e}gpj.exe";
        assert_eq!(Printable(said).to_string(), shown);
    }

    #[test]
    fn what_people_write_stays_as_it_is() {
        for text in [
            "",
            r#"C:\a "b" 'c' {}"#,
            "Grüße, façade, zu\u{308}rich",
            "日本語　テスト",
            "नमस्ते",
            "שלום ابجد",
            "prix\u{a0}: 5\u{202f}€",
            "👍🏽 ✔",
        ] {
            assert_eq!(Printable(text).to_string(), text);
            assert_eq!(json(text), text);
        }
    }

    #[test]
    fn json_is_escaped_and_reads_as_the_same() {
        let said: String = misleading().into_iter().chain("\"\\é".chars()).collect();
        let value = serde_json::json!({ said.clone(): [said, 1] });
        for text in [value.to_string(), format!("{value:#}\n")] {
            let shown = json(&text);
            let seen = |c: char| is_visible(c) || c == '\n';
            assert!(shown.chars().all(seen), "{shown:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }

    #[test]
    fn lines_are_escaped_as_they_are_written() {
        let mut written = JsonLines(Vec::new());
        written.write_all("{\"a\":\"\u{202e}\u{e0001}\"}\n".as_bytes()).unwrap();
        written.flush().unwrap();
        assert_eq!(written.0, b"{\"a\":\"\\u202e\\udb40\\udc01\"}\n");
    }
}

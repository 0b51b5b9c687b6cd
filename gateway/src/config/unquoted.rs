//! Texts without their quotes, the mistake that the TOML parser speaks of in riddles.

use toml::Table;

/// What a value ends with, outside of quotes.
const ENDS: [char; 4] = [',', ']', '}', '#'];

/// The value at which the parser has failed, if it would be right within quotes.
/// `failed_at` is the parser's place in the file.
pub(super) fn unquoted(file: &str, failed_at: usize) -> Option<Unquoted<'_>> {
    let begin = file.get(..failed_at)?.rfind('\n').map_or(0, |at| at + 1);
    let line = file.get(begin..)?.lines().next()?;
    let (key, value) = line.split_once('=')?;
    // In a list or an inline table the parser's place says which value it is.
    let inside = value.trim_start().starts_with(['[', '{']);
    let value = if inside { at_place(line, failed_at - begin)? } else { value };
    let value = value.split(ENDS).next().unwrap_or_default().trim();
    let reads = |text: &str| toml::from_str::<Table>(&format!("value = {text}")).is_ok();
    let bare = !value.is_empty() && !value.contains(['"', '\'', '[', '{']);
    (bare && !reads(value) && reads(&format!("\"{value}\"")))
        .then(|| Unquoted { key: (!inside).then(|| key.trim()), value })
}

/// From the beginning of the value that surrounds this place of the line.
fn at_place(line: &str, place: usize) -> Option<&str> {
    let before = line.get(..place)?;
    let begin = before.rfind(['[', ',', '=', '{']).map_or(0, |at| at + 1);
    line.get(begin..)
}

/// A text without its quotes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unquoted<'a> {
    /// Its key, if the value is all that the key has.
    key: Option<&'a str>,
    value: &'a str,
}

impl Unquoted<'_> {
    /// What is wrong. Words are shown; anything else may be a part of a key.
    pub(super) fn problem(&self) -> String {
        let word = |c: char| c.is_ascii_lowercase() || "_-*".contains(c);
        let is_word = self.value.len() <= 20 && self.value.chars().all(word);
        let shown = if is_word { self.value } else { "…" };
        match self.key {
            Some(key) => format!("a text without quotes; write {key} = \"{shown}\""),
            None => format!("a text without quotes; write \"{shown}\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a file that cannot be parsed.
    fn problem(file: &str) -> Option<String> {
        let error = toml::from_str::<Table>(file).unwrap_err();
        let found = unquoted(file, error.span().unwrap().start);
        println!("{file:?}: {error:?} {found:?}");
        found.map(|found| found.problem())
    }

    #[test]
    fn a_text_without_quotes_is_shown_with_them() {
        for (file, shown) in [
            ("auth = none", "auth = \"none\""),
            ("# a file\n\nauth = none # nobody\nlisten = \"x\"\n", "auth = \"none\""),
            ("auth=none\r\n", "auth = \"none\""),
            ("[log]\nformat = json", "format = \"json\""),
            ("log.format = text", "log.format = \"text\""),
            ("[[route]]\nguarantee = at_least_once", "guarantee = \"at_least_once\""),
            ("drain_timeout = 30s", "drain_timeout = \"…\""),
            ("max_message_bytes = 4MiB", "max_message_bytes = \"…\""),
            ("listen = 0.0.0.0:50051", "listen = \"…\""),
            ("queue = https://sqs.eu-west-1.amazonaws.com/1/q", "queue = \"…\""),
            ("methods = *", "methods = \"*\""),
            ("methods = /a.B/C", "methods = \"…\""),
            ("job_id_keys = 1:c2VjcmV0", "job_id_keys = \"…\""),
            ("retry_on = [unavailable]", "write \"unavailable\""),
            ("modes = [\"direct\", queue]", "write \"queue\""),
            ("auth = { certificate = none }", "write \"none\""),
        ] {
            let problem = problem(file).unwrap_or_default();
            assert!(problem.ends_with(shown), "{file:?}: {problem}");
            assert!(!problem.contains("c2Vj"), "{problem}");
        }
    }

    #[test]
    fn other_mistakes_are_left_to_the_parser() {
        for file in [
            "auth = \"none",
            "auth =",
            "auth",
            "= 3",
            "auth = \"none\" \"more\"",
            "auth = 'none",
            "[log",
            "retry_on = [\"UNAVAILABLE\"",
            "a = 1\na = 2",
        ] {
            assert_eq!(problem(file), None, "{file:?}");
        }
    }
}

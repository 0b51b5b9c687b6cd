//! The log of the process: lines of JSON or of text on the standard error.
//!
//! Whatever is in a field, it is shown on the line of its event, with everything escaped that
//! cannot be seen: callers, handlers, upstreams and AWS have a say in many of them.

use crate::config::{LogConfig, LogFormat};
use queuebridge_proto::printable::{JsonLines, Printable};
use queuebridge_proto::redaction;
use std::fmt;
use std::io::{IsTerminal, Write};
use tracing::field::{Field, Visit};
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::fmt::format::{FormatFields, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts it.
pub fn start(config: &LogConfig) {
    // The configuration has checked the filter.
    let filter: Targets = config.filter.parse().unwrap_or_default();
    let filter = filter.and(filter_fn(|line| {
        *line.level() <= Level::INFO || !redaction::is_talkative(line.target())
    }));
    let registry = tracing_subscriber::registry();
    match config.format {
        LogFormat::Json => registry.with(json(std::io::stderr).with_filter(filter)).init(),
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal();
            registry.with(text(std::io::stderr, colours).with_filter(filter)).init();
        }
    }
}

fn json<S, W>(writer: fn() -> W) -> impl Layer<S>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: Write + 'static,
{
    tracing_subscriber::fmt::layer().json().with_writer(move || JsonLines(writer()))
}

fn text<S, W>(writer: fn() -> W, colours: bool) -> impl Layer<S>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: Write + 'static,
{
    tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours).fmt_fields(Fields)
}

/// Formats the fields of an event or a span: the message, and `name=value` of the others.
struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line { writer, is_empty: true, result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    is_empty: bool,
    result: fmt::Result,
}

impl Line<'_> {
    fn write(&mut self, name: &str, value: &dyn fmt::Debug) -> fmt::Result {
        if !std::mem::take(&mut self.is_empty) {
            write!(self.writer, " ")?;
        }
        let value = Printable(format_args!("{value:?}"));
        match name {
            "message" => write!(self.writer, "{value}"),
            // In italics.
            _ if self.writer.has_ansi_escapes() => {
                write!(self.writer, "\x1b[3m{name}\x1b[0m={value}")
            }
            _ => write!(self.writer, "{name}={value}"),
        }
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.record_debug(field, &format_args!("{value}")),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let name = field.name();
        // Of lines of the crate `log` these say what the line begins with.
        if self.result.is_ok() && !name.starts_with("log.") {
            self.result = self.write(name.strip_prefix("r#").unwrap_or(name), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::io;

    thread_local! {
        static WRITTEN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }

    struct Memory;

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            WRITTEN.with_borrow_mut(|written| written.write(bytes))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const FOREIGN: &str = "x\x1b[2J\u{9b}\u{202e}\u{2028}\nINFO act=\"cancel\"";
    const SHOWN: &str = "x\\u{1b}[2J\\u{9b}\\u{202e}\\u{2028}\\nINFO act=\"cancel\"";

    fn logged(layer: impl Layer<tracing_subscriber::Registry> + Send + Sync) -> String {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("call", method = %FOREIGN).entered();
            tracing::info!(error = %FOREIGN, text = FOREIGN, number = 7, "said {FOREIGN}");
            drop(span);
        });
        String::from_utf8(WRITTEN.take()).unwrap()
    }

    #[test]
    fn an_event_is_one_line_of_text_whatever_it_says() {
        for colours in [false, true] {
            let log = logged(text(|| Memory, colours));
            assert_eq!(log.lines().count(), 1, "{log:?}");
            assert!(log.contains(&format!("said {SHOWN}")), "{log}");
            assert_eq!(log.matches("\\u{202e}").count(), 4, "{log}");
            assert!(log.contains("error") && log.contains("number"), "{log}");
            let raw = |c: char| c.is_control() || !c.is_ascii();
            let escapes = log.trim_end().chars().filter(|c| raw(*c)).collect::<String>();
            assert!(escapes.chars().all(|c| colours && c == '\x1b'), "{log:?}");
            assert!(!log.contains("\x1b[2J"), "{log:?}");
        }
    }

    #[test]
    fn an_event_is_one_line_of_json_that_says_the_same() {
        let log = logged(json(|| Memory));
        assert_eq!(log.lines().count(), 1, "{log:?}");
        assert!(log.trim_end().bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{log:?}");
        let line: serde_json::Value = serde_json::from_str(&log).unwrap();
        for value in [&line["fields"]["error"], &line["fields"]["text"], &line["span"]["method"]] {
            assert_eq!(value, FOREIGN);
        }
    }
}

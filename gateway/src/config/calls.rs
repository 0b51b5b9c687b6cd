//! What the configuration says about calls that come to a route as they are, and not as
//! submissions.

use super::reader::Reader;
use super::values::time;
use bytes::Bytes;
use queuebridge_proto::metadata;
use queuebridge_proto::v1::{Metadatum, metadatum};
use std::time::Duration;
use toml::Value;

const SECOND: Duration = Duration::from_secs(1);
const MODES: &str = "a list of \"sync\", \"auto\" and \"async\", the default first";
const IGNORED: &str = "a list of names of metadata in lower case, not of the transport's";

/// How the direct calls of a route are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallConfig {
    /// What a caller may choose from by metadata; the first counts for whoever chooses
    /// nothing. Default: `sync`, `auto`.
    pub modes: Vec<Mode>,
    /// How long a caller without a deadline waits in the mode `auto`. Default: 30 s.
    pub budget: Duration,
    /// What becomes of the job of a caller that goes away. Default: in the mode `sync` it
    /// is cancelled, in `auto` it is finished; and it is finished when the caller may come
    /// back for it, by a request id or within `attach_within`.
    pub when_abandoned: Option<Abandoned>,
    /// For how long a call that is the same as an earlier one attaches to its job,
    /// although it has no request id. Default: never.
    ///
    /// The same are calls of one tenant to one method with the same request and the same
    /// metadata for the handler, what belongs to the trace of a call left aside. A job that
    /// has ended without success is not given to another call: that starts a new one, as
    /// its client wants to. Each such call writes and reads the store once more, and is
    /// sent when its request is complete: there are no open streams on such a route.
    pub attach_within: Option<Duration>,
    /// Names of metadata that change with each delivery, beside those of proxies and tracing
    /// libraries that are known: they do not make a call, or a submission with a request id,
    /// another one. Default: none.
    pub ignored_metadata: Vec<String>,
    /// Whether another attempt gives the same stream of answers, message by message: then
    /// a stream goes on with it. Default: no; then it ends with `ABORTED`.
    pub deterministic: bool,
}

impl Default for CallConfig {
    fn default() -> Self {
        Self {
            modes: vec![Mode::Sync, Mode::Auto],
            budget: Duration::from_secs(30),
            when_abandoned: None,
            attach_within: None,
            ignored_metadata: Vec::new(),
            deterministic: false,
        }
    }
}

/// How a direct call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The caller waits; its deadline is the work expiry.
    Sync,
    /// The caller waits within its budget. When the work is not finished by then it goes
    /// on, and the caller gets the operation.
    Auto,
    /// The caller gets an empty answer at once, and the job id in the metadata.
    Async,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sync, Self::Auto, Self::Async];

    /// The name in the configuration and in metadata.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Auto => "auto",
            Self::Async => "async",
        }
    }
}

/// What becomes of a job whose caller has gone away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abandoned {
    /// It is cancelled.
    Cancel,
    /// It goes on.
    Finish,
}

impl Abandoned {
    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Finish => "finish",
        }
    }
}

/// Reads the keys of a route.
pub(super) fn read(reader: &mut Reader) -> CallConfig {
    let mut calls = CallConfig::default();
    reader.set("modes", &mut calls.modes, modes);
    reader.set("budget", &mut calls.budget, time(SECOND..=SECOND * 3600));
    let words = [Abandoned::Cancel, Abandoned::Finish].map(|word| (word.name(), word));
    calls.when_abandoned = reader.read("when_abandoned", super::values::word(&words));
    calls.attach_within = reader.read("attach_within", time(SECOND..=SECOND * 24 * 3600));
    reader.set("ignored_metadata", &mut calls.ignored_metadata, names_of_metadata);
    reader.set("deterministic", &mut calls.deterministic, super::read::yes_or_no);
    calls
}

fn names_of_metadata(value: &Value) -> Result<Vec<String>, String> {
    let name = |value: &Value| {
        let entry = |key: &str| Metadatum { key: key.to_owned(), value: Some(value_of(key)) };
        let name = value.as_str().filter(|name| metadata::check(&[entry(name)]).is_ok());
        name.map(str::to_owned)
    };
    let names = value.as_array().and_then(|list| list.iter().map(name).collect());
    names.ok_or_else(|| IGNORED.to_owned())
}

fn value_of(key: &str) -> metadatum::Value {
    match key.ends_with("-bin") {
        true => metadatum::Value::Binary(Bytes::new()),
        false => metadatum::Value::Ascii(String::new()),
    }
}

fn modes(value: &Value) -> Result<Vec<Mode>, String> {
    let mode =
        |value: &Value| Mode::ALL.into_iter().find(|mode| Some(mode.name()) == value.as_str());
    let modes: Option<Vec<Mode>> =
        value.as_array().and_then(|list| list.iter().map(mode).collect());
    let modes = modes.filter(|modes| {
        let twice = |(index, mode)| modes[..index].contains(mode);
        !modes.is_empty() && !modes.iter().enumerate().any(twice)
    });
    modes.ok_or_else(|| MODES.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(text: &str) -> (Vec<String>, usize) {
        let mut reader = Reader::new(toml::from_str(text).unwrap(), []);
        let calls = read(&mut reader);
        (calls.ignored_metadata, reader.finish().len())
    }

    #[test]
    fn ignored_metadata_are_names_that_metadata_may_have() {
        let names = vec!["x-delivery-id".to_owned(), "x-trace-bin".to_owned()];
        assert_eq!(ignored(r#"ignored_metadata = ["x-delivery-id", "x-trace-bin"]"#), (names, 0));
        for bad in [r#""x-a""#, r#"["X-A"]"#, r#"["grpc-timeout"]"#, r#"[""]"#, "[1]"] {
            assert_eq!(ignored(&format!("ignored_metadata = {bad}")), (vec![], 1), "{bad}");
        }
    }
}

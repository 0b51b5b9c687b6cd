//! Why a command of the client came to no answer.

use super::{Exit, json};
use crate::config::{ConfigErrors, code_name};
use queuebridge_proto::outcome::to_rpc_status;
use queuebridge_proto::printable::Printable;
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;
use tonic::Status;
use tonic_types::StatusExt;

/// Why a command of the client came to no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// A file could not be read or written.
    File(PathBuf, std::io::Error),
    /// The gateway could not be reached.
    Connect(tonic::transport::Error),
    /// The call failed.
    Call(Box<Status>),
    /// The configuration is wrong.
    Config(ConfigErrors),
    /// The command line, in words.
    Usage(String),
    /// Something beside the gateway could not be used, in words.
    Other(String),
}

impl Failure {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::File(..) | Self::Config(_) | Self::Usage(_) => Exit::Usage,
            Self::Connect(_) | Self::Call(_) | Self::Other(_) => Exit::CallFailed,
        }
    }
}

impl Failure {
    /// The failure for programs: `{"error": …}` with the status of the call as it stands in
    /// a job, or with a message alone.
    pub(super) fn json(&self) -> Value {
        let error = match self {
            Self::Call(status) => json::status(&to_rpc_status(status)),
            other => json!({ "message": other.to_string() }),
        };
        json!({ "error": error })
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Call(Box::new(status))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Connect(error) => {
                // The outermost error says no more than that, and several of
                // its causes only repeat the one below them.
                let mut said = String::new();
                let mut cause = std::error::Error::source(error);
                write!(f, "the gateway cannot be reached")?;
                while let Some(error) = cause {
                    let text = error.to_string();
                    if text != said {
                        write!(f, ": {}", Printable(&text))?;
                    }
                    said = text;
                    cause = error.source();
                }
                Ok(())
            }
            Self::Call(status) => call(f, status),
            Self::Config(errors) => errors.fmt(f),
            Self::Usage(words) => f.write_str(words),
            // Others have a say in it.
            Self::Other(words) => Printable(words).fmt(f),
        }
    }
}

/// Code, reason and message; then the facts, of which the job id of an unknown
/// publish outcome is the one to keep.
fn call(f: &mut fmt::Formatter<'_>, status: &Status) -> fmt::Result {
    let info = status.get_error_details().error_info().cloned();
    write!(f, "{}", code_name(status.code()))?;
    if let Some(info) = &info {
        write!(f, " {}", Printable(&info.reason))?;
    }
    write!(f, ": {}", Printable(status.message()))?;
    let mut facts: Vec<_> = info.into_iter().flat_map(|info| info.metadata).collect();
    facts.sort();
    facts
        .iter()
        .try_for_each(|(name, value)| write!(f, "\n  {}: {}", Printable(name), Printable(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use queuebridge_proto::error::{reason, status_with};
    use tonic::Code;

    #[test]
    fn what_others_say_begins_no_line() {
        assert_eq!(Failure::Other("no\nOK".to_owned()).to_string(), "no\\nOK");
    }

    #[test]
    fn a_failed_call_shows_code_reason_message_and_facts() {
        let facts = [("job_id", "abc".to_owned())];
        let reason = reason::PUBLISH_OUTCOME_UNKNOWN;
        let failure = Failure::from(status_with(Code::Unavailable, reason, "nobody knows", facts));
        assert_eq!(
            failure.to_string(),
            "UNAVAILABLE PUBLISH_OUTCOME_UNKNOWN: nobody knows\n  job_id: abc"
        );
        assert_eq!(failure.exit(), Exit::CallFailed);
        // What it says is no line of its own, and commands no terminal.
        let facts = [("job_id", "a\nb\u{9b}2J".to_owned())];
        let message = "no\x1b[2J\n  job_id: x\u{202e}";
        let foreign = Failure::from(status_with(Code::Internal, "R\x1b", message, facts));
        assert_eq!(
            foreign.to_string(),
            "INTERNAL R\\u{1b}: no\\u{1b}[2J\\n  job_id: x\\u{202e}\n  job_id: a\\nb\\u{9b}2J"
        );
        let json = failure.json();
        assert_eq!(json["error"]["code"], 14);
        assert_eq!(json["error"]["message"], "nobody knows");
        assert_eq!(json["error"]["details"][0]["metadata"]["job_id"], "abc");
        assert_eq!(Failure::Usage("no".into()).json(), json!({ "error": { "message": "no" } }));
        let plain = Failure::from(Status::internal("m"));
        assert_eq!(plain.to_string(), "INTERNAL: m");
    }
}

//! Appending lines to files of one directory.

use crate::refusal::{self, reason};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use tonic::{Code, Status};

const MAX_NAME_BYTES: usize = 128;
/// A line this short is appended by a single write, which the system does not
/// mix with the writes of others.
const MAX_LINE_BYTES: usize = 4_096;

/// A file that may be appended to.
#[derive(Debug)]
pub(super) struct Target(PathBuf);

impl Target {
    /// The file `name` directly below `directory`.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a name that could lead elsewhere or be hidden,
    /// `FAILED_PRECONDITION` without a directory.
    pub(super) fn of(directory: Option<&Path>, name: &str) -> Result<Self, Status> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let fits = (1..=MAX_NAME_BYTES).contains(&name.len());
        if !fits || name.starts_with('.') || !name.bytes().all(allowed) {
            return Err(refusal::invalid_field(
                "file",
                "expected 1 to 128 letters, digits, `.`, `-` and `_`, not starting with `.`",
            ));
        }
        let directory = directory.ok_or_else(|| {
            refusal::status(
                Code::FailedPrecondition,
                reason::PROBE_HAS_NO_DIRECTORY,
                "this process was started without a directory to append in",
            )
        })?;
        Ok(Self(directory.join(name)))
    }

    /// Appends `line` and its end in one write. On return it survives the death
    /// of this process, not that of the machine.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a long line or one with control characters,
    /// `INTERNAL` when the system refuses.
    pub(super) async fn append(self, line: &str) -> Result<(), Status> {
        if line.len() > MAX_LINE_BYTES || line.chars().any(char::is_control) {
            return Err(refusal::invalid_field(
                "line",
                "expected at most 4,096 bytes without control characters",
            ));
        }
        let line = format!("{line}\n");
        let written = tokio::task::spawn_blocking(move || {
            let mut file = OpenOptions::new().create(true).append(true).open(self.0)?;
            file.write_all(line.as_bytes())?;
            file.flush()
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed(&error)),
            Err(error) => Err(failed(&error)),
        }
    }
}

fn failed(error: &dyn std::error::Error) -> Status {
    tracing::error!(%error, "a line could not be appended");
    refusal::status(Code::Internal, reason::PROBE_WRITE_FAILED, "the line could not be appended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let directory = Some(Path::new("/some/where"));
        for name in ["", ".", "..", "../up", "a/b", "/etc/x", "a\\b", "a\0b", ".hidden", "ü"] {
            let status = Target::of(directory, name).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{name:?}");
        }
        assert!(Target::of(directory, &"n".repeat(129)).is_err());
        let target = Target::of(directory, "runs-1_a.log").unwrap();
        assert_eq!(target.0, Path::new("/some/where/runs-1_a.log"));
    }

    #[test]
    fn without_a_directory_nothing_is_written() {
        let status = Target::of(None, "runs.log").unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
    }
}

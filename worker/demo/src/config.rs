//! The demo worker's own configuration.

use std::path::PathBuf;

/// Where `Probe.Append` may write: `QB_DEMO_APPEND_DIR`. Without it, nowhere.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub(crate) fn append_dir() -> Option<PathBuf> {
    std::env::var("QB_DEMO_APPEND_DIR").ok().filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

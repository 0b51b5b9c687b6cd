//! How many connections the system lets this process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is needed beside connections of callers: upstreams, AWS, logs.
const BESIDE: u64 = 256;

/// Raises the limit of open files to what the system allows: many begin with 1,024 for the
/// sake of programs of long ago. Warns when `connections` do not fit.
pub(crate) fn allow(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    // None stands for no limit.
    let Some(files) = getrlimit(Resource::Nofile).current else { return };
    if u64::try_from(connections).is_ok_and(|connections| connections + BESIDE > files) {
        tracing::warn!(files, connections, "limits.connections is beyond the limit of open files");
    }
}

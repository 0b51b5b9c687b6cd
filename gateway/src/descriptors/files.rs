//! Descriptors from files, read again when the process is told to.

use super::DescriptorRegistry;
use futures_util::{Stream, StreamExt};
use queuebridge_web::{LeftOut, Pool, pool};
use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

/// What a file should be.
pub const EXPECTED: &str = "a serialized FileDescriptorSet with all imports, as \
                            `protoc --include_imports --descriptor_set_out=FILE` writes it";

/// So much of one source is told of what is left out.
const MOST_TOLD: usize = 50;

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FileMistake {
    /// Its place in the list.
    pub index: usize,
    /// Its path.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for FileMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; expected {EXPECTED}", self.path.display(), self.problem)
    }
}

/// Reads the files, each for itself.
///
/// # Errors
/// All mistakes.
pub fn load(files: &[PathBuf]) -> Result<Vec<Pool>, Vec<FileMistake>> {
    let (mut pools, mut mistakes) = (Vec::with_capacity(files.len()), Vec::new());
    for (index, path) in files.iter().enumerate() {
        match read(path) {
            Ok(pool) => pools.push(pool),
            Err(problem) => mistakes.push(FileMistake { index, path: path.clone(), problem }),
        }
    }
    if mistakes.is_empty() { Ok(pools) } else { Err(mistakes) }
}

fn read(path: &Path) -> Result<Pool, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let pool = pool([&bytes[..]]).map_err(|error| error.to_string())?;
    // Nothing at all is a set as well, and never what was meant.
    if pool.services().is_empty() && pool.left_out().is_empty() {
        return Err("it has no service".to_owned());
    }
    Ok(pool)
}

/// What of the files, as they are now, cannot be used, a line for each. The rest of a file
/// can.
pub fn left_out(files: &[PathBuf]) -> Vec<String> {
    let read = files.iter().filter_map(|path| Some((path, read(path).ok()?)));
    read.flat_map(|(path, pool)| told(&path.display().to_string(), pool.left_out())).collect()
}

/// Lines about what a source has that cannot be used.
pub(super) fn told(source: &str, left_out: &[LeftOut]) -> Vec<String> {
    let line = |one: &LeftOut| format!("{source}: {one}");
    let more = left_out.len().saturating_sub(MOST_TOLD);
    let rest = (more > 0).then(|| format!("{source}: and {more} more"));
    left_out.iter().take(MOST_TOLD).map(line).chain(rest).collect()
}

/// Reads the files again at every signal, until there are no more. When one of them
/// is broken, all stay as they were.
pub async fn keep(
    registry: Arc<DescriptorRegistry>,
    files: Vec<PathBuf>,
    signals: impl Stream<Item = ()>,
) {
    let mut signals = pin!(signals);
    while signals.next().await.is_some() {
        let read = files.clone();
        match tokio::task::spawn_blocking(move || load(&read)).await {
            Ok(Ok(pools)) => {
                tracing::info!(files = pools.len(), "the descriptors were read again");
                for (path, pool) in files.iter().zip(&pools) {
                    for problem in told(&path.display().to_string(), pool.left_out()) {
                        tracing::warn!("descriptors.files: {problem}");
                    }
                }
                registry.replace_files(pools);
            }
            Ok(Err(mistakes)) => {
                for mistake in mistakes {
                    tracing::error!(%mistake, "descriptors are broken; the old ones stay");
                }
            }
            Err(error) => tracing::error!(%error, "reading the descriptors failed"),
        }
    }
}

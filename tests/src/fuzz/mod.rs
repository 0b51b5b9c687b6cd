//! What every decoder of foreign bytes must survive: any bytes at all. The functions are
//! called by the fuzzers in `tests/fuzz` and, with a bounded number of mutations of the
//! same corpora, by a plain test.

mod credentials;
mod http;
mod resting;
mod travelling;

pub use credentials::caller;

use ::http::{HeaderMap, HeaderName, HeaderValue};
use std::path::PathBuf;

/// A decoder under fire: any bytes, no panic.
pub type Target = fn(&[u8]);

/// All targets, by the names of their corpora.
pub const TARGETS: [(&str, Target); 13] = [
    ("envelope", travelling::envelope),
    ("sealed", travelling::sealed),
    ("job_id", travelling::job_id),
    ("resubmit_token", travelling::resubmit_token),
    ("lambda_event", travelling::lambda_event),
    ("metadata", travelling::metadata),
    ("credential", credentials::credential),
    ("config", resting::config),
    ("record", resting::record),
    ("chunk", resting::chunk),
    ("object", resting::object),
    ("grpc_web", http::grpc_web),
    ("connect", http::connect),
];

/// Runs one target.
///
/// # Panics
/// When there is none of this name, or when it has found something.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.unwrap_or_else(|| panic!("there is no target {name}")).1(data);
}

/// The inputs that the mutations of a target begin with.
///
/// # Panics
/// When they cannot be read.
#[must_use]
pub fn corpus(name: &str) -> Vec<Vec<u8>> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{dir:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Headers of lines `key: value`; what is none is left out.
fn headers(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

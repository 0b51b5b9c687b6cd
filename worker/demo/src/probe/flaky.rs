//! Counting calls by key.

use crate::refusal::{self, reason};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tonic::{Code, Status};

/// Bounds the memory that callers can fill, to a few megabytes.
const MAX_KEYS: usize = 10_000;
const MAX_KEY_BYTES: usize = 128;

/// The number of calls with each key since the process started.
#[derive(Debug, Default)]
pub(super) struct Calls(Mutex<HashMap<String, u32>>);

impl Calls {
    /// Counts a call and returns its number, 1 for the first.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for an empty or overlong key, `RESOURCE_EXHAUSTED` for
    /// a new key when 10,000 are remembered.
    pub(super) fn count(&self, key: String) -> Result<u32, Status> {
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            let rule = format!("expected 1 to {MAX_KEY_BYTES} bytes");
            return Err(refusal::invalid_field("key", rule));
        }
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() >= MAX_KEYS && !calls.contains_key(&key) {
            return Err(refusal::status(
                Code::ResourceExhausted,
                reason::PROBE_KEYS_EXHAUSTED,
                format!("{MAX_KEYS} keys are remembered already"),
            ));
        }
        let count = calls.entry(key).or_default();
        *count = count.saturating_add(1);
        Ok(*count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_known_keys_go_on() {
        let calls = Calls::default();
        for key in 0..MAX_KEYS {
            assert_eq!(calls.count(key.to_string()).unwrap(), 1);
        }
        assert_eq!(calls.count("new".into()).unwrap_err().code(), Code::ResourceExhausted);
        assert_eq!(calls.count("7".into()).unwrap(), 2);
    }

    #[test]
    fn a_key_has_a_length() {
        for key in [String::new(), "k".repeat(129)] {
            let status = Calls::default().count(key).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument);
        }
    }
}

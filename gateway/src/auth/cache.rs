//! Tokens that were checked lately: most callers send the same one with every call, and
//! a signature costs more than all else that the gateway does for a call.

use crate::identity::Identity;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// So long a token is not checked again. A key that was withdrawn is trusted for as long.
const AT_MOST: Duration = Duration::from_secs(60);
const MAX_TOKENS: usize = 10_000;

/// Who has which token.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashMap<[u8; 32], (Identity, Instant)>>);

impl Seen {
    /// The caller, if its token was checked lately.
    pub(super) fn get(&self, token: &str) -> Option<Identity> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (identity, until) = seen.get(&hash(token))?;
        (Instant::now() < *until).then(|| identity.clone())
    }

    /// Remembers a token for as long as it is valid, at most a minute.
    pub(super) fn put(&self, token: &str, identity: &Identity, valid_for: Duration) {
        let now = Instant::now();
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MAX_TOKENS {
            seen.retain(|_, (_, until)| now < *until);
        }
        // Full of valid ones: the rest is checked every time.
        if seen.len() < MAX_TOKENS {
            seen.insert(hash(token), (identity.clone(), now + valid_for.min(AT_MOST)));
        }
    }
}

/// Not the token itself: memory is dumped more often than hashes are reversed.
fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_token_is_known_until_it_ends_and_for_a_minute_at_most() {
        let seen = Seen::default();
        seen.put("short", &Identity::trusted("t"), Duration::from_secs(5));
        seen.put("long", &Identity::trusted("t"), Duration::from_secs(3600));
        assert!(seen.get("short").is_some() && seen.get("long").is_some());
        assert!(seen.get("other").is_none());
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(seen.get("short").is_none() && seen.get("long").is_some());
        tokio::time::advance(Duration::from_secs(55)).await;
        assert!(seen.get("long").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let seen = Seen::default();
        for number in 0..=MAX_TOKENS {
            seen.put(&number.to_string(), &Identity::trusted("t"), Duration::from_secs(60));
        }
        assert_eq!(seen.0.lock().unwrap().len(), MAX_TOKENS);
        tokio::time::advance(Duration::from_secs(60)).await;
        seen.put("new", &Identity::trusted("t"), Duration::from_secs(60));
        assert_eq!(seen.0.lock().unwrap().len(), 1);
    }
}

//! An issuer's keys, read when they are needed: at first use, when they are no longer
//! new, and when a token names a key that is not among them, which is how a rotation is
//! noticed. Nothing runs in the background, so that it works between the invocations of a
//! function, too.

use super::fetch::Fetch;
use super::keys::{KeySet, NoKey};
use jsonwebtoken::{Algorithm, DecodingKey};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// So often in a minute the keys are asked for: made-up key ids and a server that is down
/// cost no more than this.
const ASKS: usize = 5;
const MINUTE: Duration = Duration::from_secs(60);
/// So long the last keys are trusted when no new ones can be had.
const TRUSTED: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct Source {
    fetch: Fetch,
    state: Mutex<State>,
    /// One asks at a time; the others wait for the answer.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct State {
    keys: Arc<KeySet>,
    /// When they were read, and until when they are new.
    read: Option<(Instant, Instant)>,
    /// When they were asked for in the last minute.
    asked: Vec<Instant>,
}

impl Source {
    pub(super) fn new(fetch: Fetch) -> Self {
        Self { fetch, state: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    /// The key that a token names.
    pub(super) async fn key(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, NoKey> {
        let before = self.state();
        let found = before.keys.find(id, algorithm).cloned();
        let now = Instant::now();
        match found {
            Some(key) if before.is_new(now) => Ok(key),
            // What is old still serves while somebody else asks for the new.
            Some(key) => {
                if let Ok(_asking) = self.asking.try_lock() {
                    self.ask(&before).await;
                } else if before.is_trusted(now) {
                    return Ok(key);
                }
                self.found(id, algorithm)
            }
            None => {
                let _asking = self.asking.lock().await;
                self.ask(&before).await;
                self.found(id, algorithm)
            }
        }
    }

    fn found(&self, id: Option<&str>, algorithm: Algorithm) -> Result<DecodingKey, NoKey> {
        let state = self.state();
        if !state.is_trusted(Instant::now()) {
            return Err(NoKey::Unavailable);
        }
        state.keys.find(id, algorithm).cloned().ok_or(NoKey::Unknown)
    }

    /// Reads the keys, unless somebody has done so since `before`, or just now.
    async fn ask(&self, before: &State) {
        let now = Instant::now();
        {
            let mut state = self.lock();
            let meanwhile = state.asked.last() != before.asked.last();
            state.asked.retain(|asked| now < *asked + MINUTE);
            if meanwhile || state.asked.len() >= ASKS {
                return;
            }
            state.asked.push(now);
        }
        let fetched = self.fetch.fetch().await;
        let parsed = fetched.and_then(|new| Ok((KeySet::parse(&new.json)?, new.fresh)));
        match parsed {
            Ok((keys, fresh)) => {
                let mut state = self.lock();
                state.keys = Arc::new(keys);
                state.read = Some((now, now + fresh));
            }
            Err(problem) => tracing::warn!(%problem, "the keys of an issuer cannot be read"),
        }
    }

    fn state(&self) -> State {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_new(&self, now: Instant) -> bool {
        self.read.is_some_and(|(_, until)| now < until)
    }

    fn is_trusted(&self, now: Instant) -> bool {
        self.read.is_some_and(|(at, _)| now < at + TRUSTED)
    }
}

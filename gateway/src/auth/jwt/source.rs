//! An issuer's keys, read when they are needed: at first use, when they are no longer
//! new, and when a token names a key that is not among them, which is how a rotation is
//! noticed. Nothing runs in the background, so that it works between the invocations of a
//! function, too.

use super::fetch::Fetch;
use super::keys::{Candidates, KeySet, NoKey};
use jsonwebtoken::Algorithm;
use queuebridge_proto::printable::Printable;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// So often in a minute the keys are asked for: made-up key ids and a server that is down
/// cost no more than this.
const ASKS: usize = 5;
const MINUTE: Duration = Duration::from_secs(60);
/// So long the last keys are trusted when no new ones can be had.
const TRUSTED: Duration = Duration::from_secs(24 * 60 * 60);
/// So many keys of a set are warned of.
const MOST_WARNINGS: usize = 20;

pub(super) struct Source {
    /// The issuer's name, for logs.
    issuer: String,
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
    pub(super) fn new(issuer: &str, fetch: Fetch) -> Self {
        let (issuer, asking) = (issuer.to_owned(), tokio::sync::Mutex::default());
        Self { issuer, fetch, state: Mutex::default(), asking }
    }

    /// The keys that a token may be signed with.
    pub(super) async fn keys(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Candidates, NoKey> {
        let before = self.state();
        let found = before.keys.find(id, algorithm);
        let now = Instant::now();
        match found {
            Some(keys) if before.is_new(now) => Ok(keys),
            // What is old still serves while somebody else asks for the new.
            Some(keys) => {
                if let Ok(_asking) = self.asking.try_lock() {
                    self.ask(&before).await;
                } else if before.is_trusted(now) {
                    return Ok(keys);
                }
                self.found(id, algorithm)
            }
            None => self.newer_keys(id, algorithm).await,
        }
    }

    /// The same after the issuer was asked once more, if it may be: none of its keys has made
    /// a token that names none.
    pub(super) async fn newer_keys(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Candidates, NoKey> {
        let before = self.state();
        let _asking = self.asking.lock().await;
        self.ask(&before).await;
        self.found(id, algorithm)
    }

    fn found(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Candidates, NoKey> {
        let state = self.state();
        if !state.is_trusted(Instant::now()) {
            return Err(NoKey::Unavailable);
        }
        state.keys.find(id, algorithm).ok_or(NoKey::Unknown)
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
                self.warn_of(&keys, &state.keys);
                state.keys = Arc::new(keys);
                state.read = Some((now, now + fresh));
            }
            Err(problem) => tracing::warn!(%problem, "the keys of an issuer cannot be read"),
        }
    }

    /// Names the keys that are left out, and were not so before.
    fn warn_of(&self, keys: &KeySet, before: &KeySet) {
        let known = before.left_out();
        let new = keys.left_out().iter().filter(|problem| !known.contains(problem));
        for problem in new.take(MOST_WARNINGS) {
            let (issuer, problem) = (Printable(&self.issuer), Printable(problem));
            tracing::warn!(%issuer, %problem, "a key of an issuer is left out");
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

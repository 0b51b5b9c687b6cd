//! An answer of a master key, asked for once by all who need it.

use super::KeyError;
use queuebridge_proto::encryption::DataKey;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long a data key is used: after that a master key that was disabled is noticed.
pub(super) const KEPT: Duration = Duration::from_secs(5 * 60);
/// How long an error is passed on to others before the key is asked again.
const FAILED: Duration = Duration::from_secs(1);
/// How often a data key is used at most. What is encrypted has a key of its own, derived
/// from it, so that bytes need not be counted.
const USES: u32 = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Asked(Mutex<Option<Answer>>);

#[derive(Debug)]
struct Answer {
    key: Result<Arc<DataKey>, KeyError>,
    until: Instant,
    uses: u32,
}

impl Asked {
    /// The key in hand, or what `ask` brings. Whoever comes meanwhile waits for the same
    /// answer.
    pub(super) async fn get<F>(&self, ask: impl FnOnce() -> F) -> Result<Arc<DataKey>, KeyError>
    where
        F: Future<Output = Result<Arc<DataKey>, KeyError>>,
    {
        let mut answer = self.0.lock().await;
        if let Some(known) = &mut *answer
            && known.uses < USES
            && Instant::now() < known.until
        {
            known.uses += 1;
            return known.key.clone();
        }
        let key = ask().await;
        if let Err(error) = &key {
            tracing::error!(%error, "a data key could not be had");
        }
        let until = Instant::now() + if key.is_ok() { KEPT } else { FAILED };
        *answer = Some(Answer { key: key.clone(), until, uses: 1 });
        key
    }

    /// Puts a key in hand that is known in another way.
    pub(super) async fn put(&self, key: Arc<DataKey>) {
        let until = Instant::now() + KEPT;
        *self.0.lock().await = Some(Answer { key: Ok(key), until, uses: 0 });
    }
}

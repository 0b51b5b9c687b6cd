//! Reading the files again.

use super::Tls;
use super::contents::Contents;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often the files are looked at: certificates are exchanged hours before they expire,
/// and three small files cost nothing.
const LOOK: Duration = Duration::from_secs(5);

impl Tls {
    /// Looks at the files from time to time and when told to, for ever. New ones are used
    /// from the next handshake on; when one of them is broken, all stay as they were.
    pub async fn keep(self: Arc<Self>) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.tick().await;
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = self.told.notified() => {}
            }
            let tls = self.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || tls.look()).await {
                tracing::error!(%error, "reading the certificates failed");
            }
        }
    }

    /// Reads the files, and uses them if they have changed and are right. Whether they are
    /// used now.
    pub(super) fn look(&self) -> bool {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let contents = Contents::read(&self.config);
        if contents == *read {
            return false;
        }
        let built = contents.server_config(&self.config);
        *read = contents;
        match built {
            Ok(config) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
                tracing::info!("the certificates were exchanged");
                true
            }
            Err(mistakes) => {
                for mistake in mistakes {
                    tracing::error!(%mistake, "certificates are broken; the old ones stay");
                }
                false
            }
        }
    }
}

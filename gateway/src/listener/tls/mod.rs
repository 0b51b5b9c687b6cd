//! The certificates of the port, which can be exchanged while it is open.

mod contents;
mod curves;
mod keep;
pub(crate) mod material;

pub use contents::{TlsMistake, check};

use crate::config::TlsConfig;
use contents::Contents;
use rustls::ServerConfig;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

/// What handshakes are made with: what the files say now, or what they said when they were
/// last right. Connections that are open go on with what they began with.
pub struct Tls {
    config: TlsConfig,
    current: RwLock<Arc<ServerConfig>>,
    /// What was read last, right or wrong.
    read: Mutex<Contents>,
    told: Notify,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn load(config: &TlsConfig) -> Result<Self, Vec<TlsMistake>> {
        let read = Contents::read(config);
        let current = RwLock::new(read.server_config(config)?);
        Ok(Self { config: config.clone(), current, read: Mutex::new(read), told: Notify::new() })
    }

    /// Looks at the files at once, when [`Tls::keep`] runs.
    pub fn read_again(&self) {
        self.told.notify_one();
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(current.clone())
    }
}

/// Without keys.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

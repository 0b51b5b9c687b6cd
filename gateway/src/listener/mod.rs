//! The gateway's port: accepting, TLS, and what each caller's connection may take.
//!
//! Everything above sees requests, each with a [`Peer`] among its extensions.

mod connection;
mod incoming;
mod peer;
mod places;
mod server;
pub mod tls;
mod unknown;
mod warning;

pub use connection::Connection;
pub use incoming::Incoming;
pub use peer::{ClientCertificate, Peer};
pub use unknown::UnknownCalls;
pub(crate) use unknown::{Lasting, UnknownCall};

use crate::config::LimitsConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use tls::Tls;
use tokio::net::TcpListener;

/// A socket that is listened on, and how.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    tls: Option<Arc<Tls>>,
    limits: LimitsConfig,
}

impl Listener {
    /// Takes TLS only, with the certificates that there are at each handshake.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }

    /// Bounds what the other side may take.
    #[must_use]
    pub fn with_limits(self, limits: LimitsConfig) -> Self {
        Self { limits, ..self }
    }

    /// Where it listens, if the system can say it.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    /// Whether a connection of HTTP/1.1 may have another request after its answer.
    pub(crate) fn http1_keep_alive(&self) -> bool {
        self.limits.http1_keep_alive
    }

    /// A server with the limits of HTTP, and the connections that it serves.
    pub(crate) fn open(self) -> (tonic::transport::Server, Incoming) {
        let server = server::with(&self.limits);
        (server, Incoming::new(self.socket, self.tls, &self.limits))
    }
}

/// Without TLS, and with the default limits.
impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Self {
        Self { socket, tls: None, limits: LimitsConfig::default() }
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

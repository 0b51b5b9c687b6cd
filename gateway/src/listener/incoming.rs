//! The connections of a listener, as they become ready to be served.

use super::connection::{Connection, Stream};
use super::peer::{ClientCertificate, Peer};
use super::places::{Full, Most, Place, Places};
use super::tls::Tls;
use super::unknown::UnknownCalls;
use super::warning::Warning;
use crate::config::LimitsConfig;
use futures_util::Stream as FuturesStream;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout_at};
use tokio_rustls::TlsAcceptor;

/// Without free file descriptors nothing can be accepted, and the system says so at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections, does the handshakes of TLS in tasks of their own, and yields those
/// that are ready. A slow or silent peer holds up nobody. Dropping it closes the socket and
/// ends handshakes under way.
#[derive(Debug)]
pub struct Incoming {
    socket: TcpListener,
    tls: Option<Arc<Tls>>,
    /// From accepting to the first bytes of HTTP, the handshake of TLS included.
    opening: Duration,
    places: Places,
    unknown: UnknownCalls,
    handshakes: JoinSet<Option<Connection>>,
    paused: Option<Pin<Box<Sleep>>>,
    full: Warning,
    failed: Warning,
}

impl Incoming {
    pub(super) fn new(socket: TcpListener, tls: Option<Arc<Tls>>, limits: &LimitsConfig) -> Self {
        let most = Most {
            connections: limits.connections,
            per_address: limits.connections_per_address.unwrap_or(usize::MAX),
        };
        Self {
            socket,
            tls,
            opening: limits.handshake_timeout,
            places: Places::new(most),
            unknown: UnknownCalls::default(),
            handshakes: JoinSet::new(),
            paused: None,
            full: Warning::default(),
            failed: Warning::default(),
        }
    }

    /// The next connection that has a place.
    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<(TcpStream, SocketAddr, Place)> {
        loop {
            if let Some(pause) = &mut self.paused {
                ready!(pause.as_mut().poll(context));
                self.paused = None;
            }
            let (stream, address) = match ready!(self.socket.poll_accept(context)) {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.refused_by_system(&error);
                    continue;
                }
            };
            match self.places.take(address.ip()) {
                Ok(place) => return Poll::Ready((stream, address, place)),
                // Dropping the stream is the answer: the caller goes elsewhere at once.
                Err(full) => self.refused(full, address),
            }
        }
    }

    fn refused(&mut self, full: Full, address: SocketAddr) {
        let Some(refused) = self.full.count() else { return };
        let limit = match full {
            Full::All => "limits.connections",
            Full::Address => "limits.connections_per_address",
        };
        tracing::warn!(refused, limit, last = %address, "connections were refused");
    }

    /// Connections that were gone before they were accepted are nothing special; all else
    /// would come again at once.
    fn refused_by_system(&mut self, error: &io::Error) {
        if error.kind() == io::ErrorKind::ConnectionAborted {
            return;
        }
        self.paused = Some(Box::pin(sleep(PAUSE)));
        if let Some(times) = self.failed.count() {
            tracing::warn!(%error, times, "connections cannot be accepted");
        }
    }
}

impl FuturesStream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Connection>>> {
        loop {
            while let Poll::Ready(Some(done)) = self.handshakes.poll_join_next(context) {
                match done {
                    Ok(Some(connection)) => return Poll::Ready(Some(Ok(connection))),
                    Ok(None) => {}
                    Err(error) => tracing::error!(%error, "a handshake failed unexpectedly"),
                }
            }
            let (stream, address, place) = ready!(self.poll_accept(context));
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(peer = %address, %error, "TCP_NODELAY cannot be set");
            }
            let end = Instant::now() + self.opening;
            let unknown = self.unknown.of_another_connection();
            let peer = Peer { address, certificate: None, unknown };
            let Some(tls) = &self.tls else {
                let stream = Stream::Plain(stream);
                return Poll::Ready(Some(Ok(Connection::new(stream, peer, end, place))));
            };
            let acceptor = tls.acceptor();
            self.handshakes.spawn(async move {
                let secured = secured(acceptor, stream, peer, end).await;
                let secured = secured.inspect_err(|error| {
                    tracing::debug!(peer = %address, %error, "a TLS handshake failed");
                });
                let (stream, peer) = secured.ok()?;
                Some(Connection::new(stream, peer, end, place))
            });
        }
    }
}

async fn secured(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    peer: Peer,
    end: Instant,
) -> io::Result<(Stream, Peer)> {
    let stream = timeout_at(end, acceptor.accept(stream))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "it took too long"))??;
    // The handshake has verified them.
    let chain = stream.get_ref().1.peer_certificates().map(<[_]>::to_vec);
    let certificate = chain.map(ClientCertificate::read).transpose().map_err(|error| {
        let error = format!("the names in the client's certificate cannot be read: {error}");
        io::Error::new(io::ErrorKind::InvalidData, error)
    })?;
    let peer = Peer { certificate: certificate.map(Arc::new), ..peer };
    Ok((Stream::Secure(Box::new(stream)), peer))
}

//! Connecting to a server of HTTP/2, with or without TLS.

use crate::trust::Trust;
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::Uri;
use http::uri::Scheme;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// A connection within a Region is made in milliseconds: past this time the host
/// is not there.
const CONNECT: Duration = Duration::from_secs(2);

/// Dead peers are found by TCP. HTTP/2 has pings for that, but common servers end
/// connections whose client pings more often than every five minutes.
const SILENCE: Duration = Duration::from_secs(30);
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;
/// What was sent and is not acknowledged for this long goes to nobody.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

/// What an upstream may send on one stream before the caller has taken it: a slow
/// caller costs the gateway no more than that.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all streams of a connection together. So large that it takes
/// hundreds of callers who take nothing before they hold up the others.
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;
/// Fewer and larger frames than the 16 KiB of the standard.
const FRAME: u32 = 64 * 1024;
/// Statuses with details may be large; more is not passed on by most anyway.
const HEADERS: u32 = 256 * 1024;

/// How one upstream is connected to.
pub(super) struct Dial {
    host: String,
    port: u16,
    tls: Option<(Secured, ServerName<'static>)>,
}

/// What TLS is spoken with.
enum Secured {
    /// The authorities of the system, read once.
    BySystem(TlsConnector),
    /// Files, read for every connection: they may be exchanged at any time.
    ByFiles(Trust),
}

/// Why an upstream cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Not `http://host:port` or `https://host:port`.
    #[error("the URL of the upstream is not http://host:port or https://host:port")]
    Url,
    /// The TLS library cannot work.
    #[error("TLS cannot be used: {0}")]
    Tls(String),
}

impl Dial {
    pub(super) fn new(url: &Uri, trust: &Trust) -> Result<Self, DialError> {
        let host = url.host().ok_or(DialError::Url)?;
        // The host of a URL has brackets around an IPv6 address, a name has not.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let secure = url.scheme() == Some(&Scheme::HTTPS);
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = match secure {
            true => {
                let name = ServerName::try_from(host.clone()).map_err(|_| DialError::Url)?;
                let secured = match *trust == Trust::default() {
                    true => Secured::BySystem(connector(trust).map_err(DialError::Tls)?),
                    false => Secured::ByFiles(trust.clone()),
                };
                Some((secured, name))
            }
            false => None,
        };
        Ok(Self { host, port, tls })
    }

    /// The addresses to which the name leads now, each once, in the order of preference.
    pub(super) async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let found = match timeout(CONNECT, lookup_host((self.host.as_str(), self.port))).await {
            Ok(found) => found?,
            Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "no address in 2 s")),
        };
        let mut addresses = Vec::new();
        for address in found {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        match addresses.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
            false => Ok(addresses),
        }
    }

    /// Makes a connection, which lives until nobody holds what is returned nor a
    /// stream of it.
    pub(super) async fn connect(&self, address: SocketAddr) -> io::Result<SendRequest<Bytes>> {
        match timeout(CONNECT, self.open(address)).await {
            Ok(opened) => opened,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in 2 s")),
        }
    }

    async fn open(&self, address: SocketAddr) -> io::Result<SendRequest<Bytes>> {
        let stream = TcpStream::connect(address).await?;
        tune(&stream)?;
        match &self.tls {
            None => handshake(stream).await,
            Some((secured, name)) => {
                let tls = match secured {
                    Secured::BySystem(tls) => tls.clone(),
                    Secured::ByFiles(trust) => {
                        let trust = trust.clone();
                        let read = spawn_blocking(move || connector(&trust)).await;
                        read.map_err(io::Error::other)?.map_err(io::Error::other)?
                    }
                };
                let stream = tls.connect(name.clone(), stream).await?;
                let chosen = stream.get_ref().1.alpn_protocol();
                if chosen.is_some_and(|chosen| chosen != b"h2") {
                    return Err(io::Error::other("the server does not speak HTTP/2"));
                }
                handshake(stream).await
            }
        }
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let probes = TcpKeepalive::new().with_time(SILENCE);
    let probes = probes.with_interval(PROBE_INTERVAL).with_retries(PROBES);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&probes)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(())
}

async fn handshake<T>(stream: T) -> io::Result<SendRequest<Bytes>>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_header_list_size(HEADERS);
    let (requests, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
    tokio::spawn(async move {
        // Each call on it learns of its end by itself.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an upstream has ended");
        }
    });
    Ok(requests)
}

/// Fails with all mistakes in the files.
fn connector(trust: &Trust) -> Result<TlsConnector, String> {
    let config = trust.client_config().map_err(|mistakes| {
        let mistakes: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        mistakes.join("; ")
    })?;
    Ok(TlsConnector::from(config))
}

//! One accepted connection.

use super::peer::Peer;
use super::places::Place;
use queuebridge_web::Linger;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// As many bytes as the preface of HTTP/2 has; a request of HTTP/1.1 has no fewer. Whoever
/// has sent them has said which of the two it speaks, and their servers count the time from
/// there on.
const FIRST_BYTES: usize = 24;
/// What is read of HTTP/1.1 at once. Its server has a buffer of twice as much as soon as one
/// is filled, up to 408 KiB for each connection; those of a bit less than a power of two
/// stay at that.
const READ: usize = 16 * 1024 - 1;
/// How the preface of HTTP/2 begins, and no request of HTTP/1.1.
const HTTP2: [u8; 3] = *b"PRI";
/// For so long a peer may take nothing at all of what is sent to it.
const STALLED: Duration = Duration::from_secs(60);

/// A connection that is served: it has its place until it is dropped.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    linger: Linger,
    peer: Peer,
    /// Until then the first bytes must be here. None afterwards.
    opening: Option<Opening>,
    /// Known with its first bytes.
    is_http1: bool,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    since: Instant,
    _place: Place,
}

#[derive(Debug)]
struct Opening {
    end: Pin<Box<Sleep>>,
    bytes: usize,
    /// The first of them.
    start: [u8; 3],
}

/// With or without TLS.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Secure(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl Connection {
    /// A connection whose first bytes must be here until `end`.
    pub(super) fn new(stream: Stream, peer: Peer, end: Instant, place: Place) -> Self {
        let opening = Some(Opening { end: Box::pin(sleep_until(end)), bytes: 0, start: [0; 3] });
        let (is_http1, stalled, since) = (false, None, Instant::now());
        let linger = Linger::default();
        Self { stream, linger, peer, opening, is_http1, stalled, since, _place: place }
    }

    /// What came of writing, unless nothing was taken for too long.
    fn unless_stalled<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALLED)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(late("the peer has taken nothing for 60 s"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn late(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = if self.is_http1 && buffer.remaining() > READ {
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(READ));
            let read = self.stream.poll_read(context, &mut part);
            let bytes = part.filled().len();
            buffer.advance(bytes);
            read
        } else {
            self.stream.poll_read(context, buffer)
        };
        let Some(opening) = &mut self.opening else { return read };
        let begin = opening.start.iter_mut().skip(opening.bytes);
        begin.zip(&buffer.filled()[before..]).for_each(|(byte, read)| *byte = *read);
        opening.bytes += buffer.filled().len() - before;
        let is_http1 = opening.bytes >= HTTP2.len() && opening.start != HTTP2;
        if opening.bytes >= FIRST_BYTES {
            self.opening = None;
        } else if read.is_pending() && opening.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(late("no request has begun in time")));
        }
        self.is_http1 = is_http1;
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Secure(stream) => Pin::new(stream).poll_write(context, bytes),
        };
        self.unless_stalled(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Secure(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        };
        self.unless_stalled(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Secure(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Secure(stream) => Pin::new(stream).poll_flush(context),
        };
        self.unless_stalled(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Secure(stream) => Pin::new(stream).poll_shutdown(context),
        };
        ready!(self.unless_stalled(context, shut))?;
        // What comes of HTTP/2 at the end is nothing that anybody waits for an answer to.
        if !self.is_http1 {
            return Poll::Ready(Ok(()));
        }
        let Self { stream, linger, .. } = &mut *self;
        linger.poll(context, |context, buffer| stream.poll_read(context, buffer)).map(Ok)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let (peer, after) = (self.peer.address, self.since.elapsed());
        tracing::debug!(%peer, ?after, "a connection has ended");
    }
}

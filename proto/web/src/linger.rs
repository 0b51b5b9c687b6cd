//! The end of a connection whose peer is still sending.
//!
//! A socket that is closed with unread bytes in it resets its connection, and
//! the peer loses what was sent to it last, such as the reason why its request was refused.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep, sleep};

/// What still comes is read for so long.
const MOST: Duration = Duration::from_secs(10);
/// A peer that sends nothing for so long has seen the end, or is gone.
const SILENT: Duration = Duration::from_secs(1);
/// More is a flood, and not the rest of a request.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// What is read at once.
const PIECE: usize = 16 * 1024;

/// Reads on after a connection was shut down for writing, until its peer has ended it too.
/// Nothing is made of what comes.
#[derive(Debug, Default)]
pub struct Linger(Option<Rest>);

#[derive(Debug)]
struct Rest {
    bytes: usize,
    end: Instant,
    silent: Pin<Box<Sleep>>,
}

impl Linger {
    /// Waits for the peer's end by `read`, for at most 10 s and 32 MiB, and 1 s while
    /// nothing comes.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        mut read: impl FnMut(&mut Context<'_>, &mut ReadBuf<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<()> {
        let rest = self.0.get_or_insert_with(|| Rest {
            bytes: 0,
            end: Instant::now() + MOST,
            silent: Box::pin(sleep(SILENT)),
        });
        let mut piece = [0; PIECE];
        loop {
            let mut buffer = ReadBuf::new(&mut piece);
            match read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    let now = Instant::now();
                    rest.bytes += buffer.filled().len();
                    if now >= rest.end || rest.bytes > MOST_BYTES {
                        return Poll::Ready(());
                    }
                    rest.silent.as_mut().reset((now + SILENT).min(rest.end));
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return rest.silent.as_mut().poll(context),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncRead, AsyncWriteExt, DuplexStream, duplex};

    async fn linger(stream: &mut DuplexStream) -> Duration {
        let (begun, mut linger) = (Instant::now(), Linger::default());
        poll_fn(|context| {
            linger
                .poll(context, |context, buffer| Pin::new(&mut *stream).poll_read(context, buffer))
        })
        .await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_is_read_until_the_peer_ends_or_is_silent() {
        let (mut here, mut there) = duplex(1024);
        let sender = tokio::spawn(async move {
            there.write_all(&vec![1; 1_000_000]).await.unwrap();
        });
        assert_eq!(linger(&mut here).await, Duration::ZERO);
        sender.await.unwrap();
        let (mut here, _there) = duplex(1024);
        assert_eq!(linger(&mut here).await, SILENT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_sends_for_ever_is_left() {
        let (mut here, mut there) = duplex(1024);
        let flood = tokio::spawn(async move {
            let mut sent = 0;
            while there.write_all(&[1; 1024]).await.is_ok() {
                sent += 1024;
            }
            sent
        });
        assert_eq!(linger(&mut here).await, Duration::ZERO);
        drop(here);
        assert!(flood.await.unwrap() < MOST_BYTES + 2 * PIECE);
        let (mut here, mut there) = duplex(1024);
        let sender = tokio::spawn(async move {
            while there.write_all(&[1]).await.is_ok() {
                sleep(SILENT / 2).await;
            }
        });
        assert_eq!(linger(&mut here).await, MOST);
        drop(here);
        sender.await.unwrap();
    }
}

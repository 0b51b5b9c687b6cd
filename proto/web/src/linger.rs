//! The end of a connection whose peer is still sending.
//!
//! A socket that is closed with bytes in it that nobody has read resets its connection, and
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
/// What is read at once.
const PIECE: usize = 16 * 1024;

/// Reads on after a connection was shut down for writing, until its peer has ended it too.
/// Nothing is made of what comes.
#[derive(Debug, Default)]
pub struct Linger(Option<Times>);

#[derive(Debug)]
struct Times {
    end: Instant,
    silent: Pin<Box<Sleep>>,
}

impl Linger {
    /// Waits for the peer's end by `read`, for at most 10 s, and 1 s while nothing comes.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        mut read: impl FnMut(&mut Context<'_>, &mut ReadBuf<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<()> {
        let times = self.0.get_or_insert_with(|| Times {
            end: Instant::now() + MOST,
            silent: Box::pin(sleep(SILENT)),
        });
        let mut piece = [0; PIECE];
        loop {
            let mut buffer = ReadBuf::new(&mut piece);
            match read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    let now = Instant::now();
                    if now >= times.end {
                        return Poll::Ready(());
                    }
                    times.silent.as_mut().reset((now + SILENT).min(times.end));
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return times.silent.as_mut().poll(context),
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

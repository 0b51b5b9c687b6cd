//! The caller's messages on their way to the upstream.

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::body::Body;

/// Moves a request's body into its stream, as fast as the upstream takes it and no
/// faster. Dropping it before its end resets the stream.
pub(super) struct Pump {
    body: Body,
    stream: SendStream<Bytes>,
}

impl Pump {
    pub(super) fn new(body: Body, stream: SendStream<Bytes>) -> Self {
        Self { body, stream }
    }

    /// Ready when there is nothing left to do: the request is complete, or the
    /// stream has ended. Why it has is told to whoever reads the answer.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            // A frame is taken from the caller only when the upstream takes data;
            // so the caller's own window closes when the upstream's does.
            self.stream.reserve_capacity(1);
            if self.stream.capacity() == 0 {
                match ready!(self.stream.poll_capacity(context)) {
                    Some(Ok(0)) => continue,
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Poll::Ready(()),
                }
            } else if self.stream.poll_reset(context).is_ready() {
                return Poll::Ready(());
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if self.send(frame).is_none() {
                        return Poll::Ready(());
                    }
                }
                Some(Err(_)) => {
                    // The caller has gone.
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(());
                }
                None => {
                    let _ = self.stream.send_data(Bytes::new(), true);
                    return Poll::Ready(());
                }
            }
        }
    }

    /// `None` when nothing can follow.
    fn send(&mut self, frame: http_body::Frame<Bytes>) -> Option<()> {
        let frame = match frame.into_data() {
            Ok(data) => {
                let last = self.body.is_end_stream();
                self.stream.send_data(data, last).ok()?;
                return (!last).then_some(());
            }
            Err(frame) => frame,
        };
        if let Ok(trailers) = frame.into_trailers() {
            self.stream.reserve_capacity(0);
            let _ = self.stream.send_trailers(trailers);
            return None;
        }
        Some(())
    }
}

//! The caller's messages on their way to the upstream.

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::{Body as _, Frame};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::body::Body;

/// Moves a request's body into its stream, as fast as the upstream takes it and no
/// faster. Dropping it before its end resets the stream.
pub(super) struct Pump {
    body: Body,
    stream: SendStream<Bytes>,
    begun: bool,
    /// What was there already behind a frame, and was not the end.
    next: Option<Next>,
}

type Next = Option<Result<Frame<Bytes>, tonic::Status>>;

impl Pump {
    pub(super) fn new(body: Body, stream: SendStream<Bytes>) -> Self {
        Self { body, stream, begun: false, next: None }
    }

    /// Ready when there is nothing left to do: the request is complete, or the
    /// stream has ended. Why it has is told to whoever reads the answer.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            // The first frame does not wait for the stream to be opened: with it
            // most requests are one packet.
            if self.begun && ready!(self.poll_capacity(context)).is_break() {
                return Poll::Ready(());
            }
            let frame = match self.next.take() {
                Some(frame) => frame,
                None => ready!(Pin::new(&mut self.body).poll_frame(context)),
            };
            self.begun = true;
            if self.send(frame, context).is_break() {
                return Poll::Ready(());
            }
        }
    }

    /// A frame is taken from the caller only when the upstream takes data, and at most
    /// one more with it; so the caller's own window closes when the upstream's does.
    /// Breaks when the stream has ended.
    fn poll_capacity(&mut self, context: &mut Context<'_>) -> Poll<ControlFlow<()>> {
        self.stream.reserve_capacity(1);
        if self.stream.capacity() > 0 {
            return Poll::Ready(match self.stream.poll_reset(context) {
                Poll::Ready(_) => ControlFlow::Break(()),
                Poll::Pending => ControlFlow::Continue(()),
            });
        }
        loop {
            match ready!(self.stream.poll_capacity(context)) {
                Some(Ok(0)) => {}
                Some(Ok(_)) => return Poll::Ready(ControlFlow::Continue(())),
                Some(Err(_)) | None => return Poll::Ready(ControlFlow::Break(())),
            }
        }
    }

    /// Whether nothing follows the frame that was taken last. Most clients end a request
    /// with an empty frame behind the message. On its own that is a packet more, for
    /// which the upstream is woken once more.
    fn has_ended(&mut self, context: &mut Context<'_>) -> bool {
        if self.body.is_end_stream() {
            return true;
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(frame))) if is_empty(&frame) && self.body.is_end_stream() => true,
            Poll::Ready(next) => {
                self.next = Some(next);
                false
            }
            Poll::Pending => false,
        }
    }

    /// Breaks when nothing can follow.
    fn send(&mut self, frame: Next, context: &mut Context<'_>) -> ControlFlow<()> {
        let sent = match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let last = self.has_ended(context);
                    let sent = self.stream.send_data(data, last);
                    if sent.is_ok() && !last {
                        return ControlFlow::Continue(());
                    }
                    sent
                }
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => self.stream.send_trailers(trailers),
                    Err(_unknown) => return ControlFlow::Continue(()),
                },
            },
            // The caller has gone.
            Some(Err(_)) => {
                self.stream.send_reset(Reason::CANCEL);
                Ok(())
            }
            None => self.stream.send_data(Bytes::new(), true),
        };
        // Whoever reads the answer meets the same error.
        drop(sent);
        ControlFlow::Break(())
    }
}

fn is_empty(frame: &Frame<Bytes>) -> bool {
    frame.data_ref().is_some_and(Bytes::is_empty)
}

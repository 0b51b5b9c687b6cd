//! The body of a request, which ends with a refusal when it takes too much or too long.

use super::{Arriving, Unit};
use crate::room::Room;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use queuebridge_proto::duration::format_duration;
use queuebridge_proto::error::{self, reason};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};
use tonic::body::Body;
use tonic::{Code, Status};

/// A reader who is so much later than the end of a message's time was not there.
const ABSENCE: Duration = Duration::from_secs(1);

/// Where it is written why a body has ended, for those who do not hand on its error.
pub(crate) type Refusal = Arc<OnceLock<Status>>;

type Polled = Option<Result<Frame<Bytes>, Status>>;

pub(super) struct ArrivingBody {
    body: Body,
    unit: Unit,
    arriving: Arriving,
    room: Room,
    refusal: Option<Refusal>,
    /// Runs while a message is coming, from the first time that it has to be waited for.
    late: Option<Pin<Box<Sleep>>>,
    /// The next piece, for which there is no room yet.
    next: Option<Bytes>,
    /// The end of a single message, which is not handed on before that of its request:
    /// whoever had it would decode it, and wait.
    last: Option<Bytes>,
    /// What came after it.
    then: Option<Polled>,
}

impl ArrivingBody {
    pub(super) fn new(
        body: Body,
        unit: Unit,
        arriving: Arriving,
        room: Room,
        refusal: Option<Refusal>,
    ) -> Self {
        let (late, next, last, then) = (None, None, None, None);
        Self { body, unit, arriving, room, refusal, late, next, last, then }
    }

    fn refuse(&mut self, status: Status) -> Poll<Polled> {
        self.body = Body::empty();
        (self.next, self.last, self.then) = (None, None, None);
        if let Some(refusal) = &self.refusal {
            // The first is the reason.
            let _ = refusal.set(status.clone());
        }
        Poll::Ready(Some(Err(status)))
    }

    /// Waits for what is coming.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<Polled> {
        if !self.unit.is_begun() {
            return Poll::Pending;
        }
        let patience = self.arriving.patience;
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(patience)));
        // Nobody has read meanwhile: it is not the caller who is slow.
        if late.deadline().elapsed() > ABSENCE {
            late.as_mut().reset(Instant::now() + patience);
        }
        ready!(late.as_mut().poll(context));
        self.refuse(too_slow(patience))
    }

    /// Makes room for a piece, as far as it needs some.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        let needed = self.unit.incomplete(self.arriving.most);
        match self.unit {
            // It holds something already: whoever waited with that could wait for ever.
            Unit::Request(_) | Unit::Prompt(_) => Poll::Ready(self.room.hold(needed)),
            Unit::Call(_) | Unit::Stream(_) => self.room.poll_hold(needed, context),
        }
    }
}

impl HttpBody for ArrivingBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Polled> {
        let this = &mut *self;
        loop {
            if let Some(then) = this.then.take() {
                return Poll::Ready(then);
            }
            if this.next.is_some() {
                if let Err(status) = ready!(this.poll_room(context)) {
                    return this.refuse(status);
                }
                let Some(piece) = this.next.take() else { continue };
                let is_whole = matches!(this.unit, Unit::Call(frames) if frames.is_complete());
                if is_whole && !this.body.is_end_stream() {
                    this.last = Some(piece);
                    continue;
                }
                // A piece is a part of a larger buffer, which whoever collects them would keep.
                let collected = matches!(this.unit, Unit::Request(_));
                let piece = if collected { Bytes::copy_from_slice(&piece) } else { piece };
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let Poll::Ready(polled) = Pin::new(&mut this.body).poll_frame(context) else {
                return this.poll_late(context);
            };
            match polled {
                Some(Ok(frame)) if frame.is_data() => {
                    let piece = frame.into_data().unwrap_or_default();
                    if piece.is_empty() {
                        continue;
                    }
                    let complete = this.unit.take(&piece);
                    if complete && matches!(this.unit, Unit::Stream(_) | Unit::Prompt(_)) {
                        this.late = None;
                    }
                    this.next = Some(piece);
                    if let Some(last) = this.last.take() {
                        // Its reader sees that there is more, and does not wait for the rest.
                        this.body = Body::empty();
                        return Poll::Ready(Some(Ok(Frame::data(last))));
                    }
                }
                end => {
                    // It has come, and is counted by whoever works on it.
                    let _ = this.room.hold(0);
                    let Some(last) = this.last.take() else { return Poll::Ready(end) };
                    this.then = Some(end);
                    return Poll::Ready(Some(Ok(Frame::data(last))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
            && self.next.is_none()
            && self.last.is_none()
            && self.then.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn too_slow(patience: Duration) -> Status {
    let message = format!("the request did not come within {}", format_duration(patience));
    error::status(Code::DeadlineExceeded, reason::REQUEST_TOO_SLOW, message)
}

#[cfg(test)]
mod tests {
    use super::super::{Arriving, PATIENCE};
    use super::*;
    use crate::room::{ALL, FREE, TURN};
    use futures_util::FutureExt;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;

    /// A body that is sent by hand.
    fn body(
        arriving: &Arriving,
        unit: Unit,
    ) -> (mpsc::Sender<Result<Frame<Bytes>, Status>>, Body, Refusal) {
        let (send, receive) = mpsc::channel(10);
        let refusal = Refusal::default();
        let inner = Body::new(StreamBody::new(ReceiverStream::new(receive)));
        (send, arriving.body(&"t".into(), unit, inner, Some(refusal.clone())), refusal)
    }

    fn data(bytes: &[u8]) -> Result<Frame<Bytes>, Status> {
        Ok(Frame::data(Bytes::copy_from_slice(bytes)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_comes_a_byte_at_a_time_ends_its_call() {
        let arriving = Arriving::new(1 << 20, false);
        let (send, mut body, refusal) = body(&arriving, Unit::stream());
        let begun = Instant::now();
        // No message has begun: a stream may be quiet for as long as it likes.
        assert!(tokio::time::timeout(PATIENCE * 10, body.frame()).await.is_err());
        let drip = async {
            send.send(data(&[0, 0, 0, 0, 200])).await.unwrap();
            while send.send(data(b"x")).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
        };
        let read = async {
            loop {
                if let Err(status) = body.frame().await.unwrap() {
                    return status;
                }
            }
        };
        let status = tokio::select! { status = read => status, () = drip => unreachable!() };
        assert_eq!(begun.elapsed(), PATIENCE * 11);
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(refusal.get().unwrap().message(), status.message());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_who_was_away_does_not_make_its_caller_slow() {
        let arriving = Arriving::new(1 << 20, false);
        let (send, mut body, _) = body(&arriving, Unit::stream());
        send.send(data(&[0, 0, 0, 0, 2, b'x'])).await.unwrap();
        body.frame().await.unwrap().unwrap();
        assert!(body.frame().now_or_never().is_none());
        tokio::time::sleep(PATIENCE * 10).await;
        assert!(body.frame().now_or_never().is_none());
        send.send(data(b"x")).await.unwrap();
        assert!(body.frame().await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn every_message_of_a_stream_has_its_own_time_and_room() {
        let arriving = Arriving::default();
        let (send, mut body, _) = body(&arriving, Unit::stream());
        let most = u32::try_from(ALL / 8).unwrap().to_be_bytes();
        for _ in 0..10 {
            let mut message = vec![0, most[0], most[1], most[2], most[3]];
            message.resize(5 + ALL / 8, b'x');
            for half in message.chunks(ALL / 12) {
                assert!(body.frame().now_or_never().is_none());
                tokio::time::sleep(PATIENCE / 2).await;
                send.send(data(half)).await.unwrap();
                body.frame().await.unwrap().unwrap();
            }
        }
        drop(send);
        assert!(body.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_read_as_a_whole_must_begin_as_well() {
        let arriving = Arriving::new(1 << 20, false);
        let (_send, mut body, _) = body(&arriving, Unit::Request(0));
        let begun = Instant::now();
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(begun.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_room_waits_for_it_or_is_refused() {
        let arriving = Arriving::new(1 << 20, true);
        let (first, mut held, _) = body(&arriving, Unit::Request(0));
        first.send(data(&vec![0; ALL + FREE])).await.unwrap();
        held.frame().await.unwrap().unwrap();
        let of = async |unit, length: u32| {
            let (send, mut body, _) = body(&arriving, unit);
            send.send(data(&[&[0][..], &length.to_be_bytes(), b"x"].concat())).await.unwrap();
            body.frame().await.unwrap().err()
        };
        let whole = async |bytes: usize| {
            let (send, mut body, _) = body(&arriving, Unit::Request(0));
            send.send(data(&vec![0; bytes])).await.unwrap();
            body.frame().await.unwrap().err()
        };
        let begun = Instant::now();
        assert!(of(Unit::stream(), 1000).await.is_none() && whole(FREE).await.is_none());
        assert_eq!(whole(FREE + 1).await.unwrap().code(), Code::ResourceExhausted);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let status = of(Unit::call(), 10_000).await.unwrap();
        assert_eq!((status.code(), begun.elapsed()), (Code::ResourceExhausted, TURN));
        let status = of(Unit::prompt(), 10_000).await.unwrap();
        assert_eq!((status.code(), begun.elapsed()), (Code::ResourceExhausted, TURN));
        let goes = async {
            tokio::time::sleep(TURN / 2).await;
            drop(first);
            assert!(held.frame().await.is_none());
        };
        let (waited, ()) = tokio::join!(of(Unit::stream(), 10_000), goes);
        assert!(waited.is_none());
        assert_eq!(begun.elapsed(), TURN + TURN / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_message_is_not_handed_on_before_its_request_has_ended() {
        let arriving = Arriving::default();
        let (send, mut body, _) = body(&arriving, Unit::call());
        send.send(data(&[0, 0, 0, 0, 2, b'x'])).await.unwrap();
        body.frame().await.unwrap().unwrap();
        send.send(data(b"y")).await.unwrap();
        assert!(body.frame().now_or_never().is_none());
        drop(send);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "y");
        assert!(body.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_end_is_refused_with_its_message() {
        let arriving = Arriving::new(1 << 20, false);
        let (send, mut body, _) = body(&arriving, Unit::call());
        send.send(data(&[0, 0, 0, 0, 1, b'x'])).await.unwrap();
        let begun = Instant::now();
        assert_eq!(body.frame().await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(begun.elapsed(), PATIENCE);
    }

    #[tokio::test]
    async fn what_comes_after_a_single_message_is_its_readers_to_judge() {
        let arriving = Arriving::default();
        let (send, mut body, _) = body(&arriving, Unit::call());
        for piece in [&[0, 0, 0, 0, 1, b'x'][..], &[0, 0, 0], &[0, 1, b'y']] {
            send.send(data(piece)).await.unwrap();
        }
        let all = http_body_util::BodyExt::collect(&mut body).await.unwrap().to_bytes();
        assert_eq!(*all, [0, 0, 0, 0, 1, b'x', 0, 0, 0], "it is not waited for more");
    }
}

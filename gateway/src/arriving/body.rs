//! The body of a request, which ends with a refusal when it takes too much or too long.

use super::{Room, Unit};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use queuebridge_proto::error::{self, reason};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};
use tonic::body::Body;
use tonic::{Code, Status};

/// For so long a message may be on its way. Four MiB come in it with 300 kbit/s.
const PATIENCE: Duration = Duration::from_secs(120);

/// A reader who is so much later than the end of that time was not there.
const ABSENCE: Duration = Duration::from_secs(1);

/// Where it is written why a body has ended, for those who do not hand on its error.
pub(crate) type Refusal = Arc<OnceLock<Status>>;

pub(super) struct ArrivingBody {
    body: Body,
    unit: Unit,
    room: Room,
    refusal: Option<Refusal>,
    /// Runs while a message is coming, from the first time that it has to be waited for.
    late: Option<Pin<Box<Sleep>>>,
}

impl ArrivingBody {
    pub(super) fn new(body: Body, unit: Unit, room: Room, refusal: Option<Refusal>) -> Self {
        Self { body, unit, room, refusal, late: None }
    }

    fn refuse(&mut self, status: Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.body = Body::empty();
        if let Some(refusal) = &self.refusal {
            // The first is the reason.
            let _ = refusal.set(status.clone());
        }
        Poll::Ready(Some(Err(status)))
    }
}

impl HttpBody for ArrivingBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if polled.is_pending() && this.unit.is_begun() {
            let late = this.late.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
            // Nobody has read meanwhile: it is not the caller who is slow.
            if late.deadline().elapsed() > ABSENCE {
                late.as_mut().reset(Instant::now() + PATIENCE);
            }
            ready!(late.as_mut().poll(context));
            return this.refuse(too_slow());
        }
        let frame = ready!(polled);
        let held = match frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            Some(piece) => {
                if this.unit.take(piece) {
                    this.late = None;
                }
                this.room.hold(this.unit.incomplete(this.room.arriving.most))
            }
            // It has come, and is counted by whoever works on it.
            None => this.room.hold(0),
        };
        match held {
            Ok(()) => Poll::Ready(frame),
            Err(status) => this.refuse(status),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn too_slow() -> Status {
    let message = format!("the request did not come within {} s", PATIENCE.as_secs());
    error::status(Code::DeadlineExceeded, reason::REQUEST_TOO_SLOW, message)
}

#[cfg(test)]
mod tests {
    use super::super::{Arriving, FREE, OF_A_TENANT};
    use super::*;
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
        let arriving = Arriving::default();
        let (send, mut body, refusal) = body(&arriving, Unit::messages());
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
        let arriving = Arriving::default();
        let (send, mut body, _) = body(&arriving, Unit::messages());
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
        let (send, mut body, _) = body(&arriving, Unit::messages());
        let most = u32::try_from(OF_A_TENANT / 2).unwrap().to_be_bytes();
        for _ in 0..5 {
            let mut message = vec![0, most[0], most[1], most[2], most[3]];
            message.resize(5 + OF_A_TENANT / 2, b'x');
            for half in message.chunks(OF_A_TENANT / 3) {
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
        let arriving = Arriving::default();
        let (_send, mut body, _) = body(&arriving, Unit::Request(0));
        let begun = Instant::now();
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(begun.elapsed(), PATIENCE);
    }

    #[tokio::test]
    async fn what_has_no_room_is_refused_until_others_are_gone() {
        let arriving = Arriving::default();
        let (first, mut held, _) = body(&arriving, Unit::Request(0));
        first.send(data(&vec![0; (OF_A_TENANT + FREE) / 2])).await.unwrap();
        held.frame().await.unwrap().unwrap();
        let refused = async |bytes: usize| {
            let (send, mut body, _) = body(&arriving, Unit::Request(0));
            send.send(data(&vec![0; bytes])).await.unwrap();
            body.frame().await.unwrap().err()
        };
        assert!(refused(FREE / 2).await.is_none());
        let status = refused(FREE).await.unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted);
        // It has come.
        drop(first);
        assert!(held.frame().await.is_none());
        assert!(refused(FREE).await.is_none());
    }
}

//! What has to be there before anything is done with it.

use http::Request;
use queuebridge_web::Protocol;

/// Flag and length before a message.
const FRAME: usize = 5;
/// What a piece of a body costs whoever keeps the pieces as they come, however small it is.
const PIECE: usize = 256;

/// What of a request is read as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Everything; what has come of it costs so much.
    Request(usize),
    /// One message, in its frame, and the end of the request.
    Call(Frames),
    /// Message by message, in the frames of gRPC.
    Stream(Frames),
    /// The same for whoever makes something of it when nothing comes.
    Prompt(Frames),
}

impl Unit {
    /// What the translation of a request's protocol reads. `None`: it hands everything on
    /// as it comes. Connect reads a stream by messages only for a method that `takes_stream`.
    pub(crate) fn of_translation<B>(request: &Request<B>, takes_stream: bool) -> Option<Self> {
        let streams = takes_stream && Protocol::is_connect_stream(request);
        match Protocol::of(request)? {
            Protocol::GrpcWeb => None,
            Protocol::Connect if streams => Some(Self::prompt()),
            Protocol::Connect | Protocol::Grpc => Some(Self::Request(0)),
        }
    }

    /// One message.
    pub(crate) fn call() -> Self {
        Self::Call(Frames::default())
    }

    /// Message by message.
    pub(crate) fn stream() -> Self {
        Self::Stream(Frames::default())
    }

    /// Message by message, for whoever makes something of it when nothing comes.
    pub(crate) fn prompt() -> Self {
        Self::Prompt(Frames::default())
    }

    /// Takes note of the next piece, and says whether a message is complete with it.
    pub(super) fn take(&mut self, piece: &[u8]) -> bool {
        match self {
            Self::Request(bytes) => {
                *bytes += piece.len().max(PIECE);
                false
            }
            // Whatever comes after the message, it is not read.
            Self::Call(frames) => !frames.complete && frames.take(piece, true),
            Self::Stream(frames) | Self::Prompt(frames) => frames.take(piece, false),
        }
    }

    /// How much memory there has to be for what is not complete.
    pub(super) fn incomplete(&self, most: usize) -> usize {
        match self {
            Self::Request(bytes) => *bytes,
            // Until the request ends.
            Self::Call(frames) if frames.complete => frames.size(),
            Self::Call(frames) | Self::Stream(frames) | Self::Prompt(frames)
                if frames.came < FRAME =>
            {
                frames.came
            }
            Self::Call(frames) | Self::Stream(frames) | Self::Prompt(frames) => {
                // One that is too large is refused before anything is set aside.
                let fits = frames.size() <= most.saturating_add(FRAME);
                if fits { frames.size() } else { frames.came }
            }
        }
    }

    /// Whether there is something to wait for, be it the first byte.
    pub(super) fn is_begun(&self) -> bool {
        match self {
            Self::Request(_) | Self::Call(_) => true,
            Self::Stream(frames) | Self::Prompt(frames) => frames.came > 0,
        }
    }
}

/// Where in its messages a body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frames {
    /// Of the message that is coming, with its head; nothing after its end.
    came: usize,
    head: [u8; FRAME],
    /// A message has come.
    complete: bool,
}

impl Frames {
    /// Whether a message has come.
    pub(super) fn is_complete(self) -> bool {
        self.complete
    }

    /// That of the message that is coming, once its head has come.
    fn size(&self) -> usize {
        let [_, length @ ..] = self.head;
        usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX).saturating_add(FRAME)
    }

    /// With `single` up to the end of one message.
    fn take(&mut self, mut piece: &[u8], single: bool) -> bool {
        let mut complete = false;
        while !piece.is_empty() {
            if self.came < FRAME {
                let some = piece.len().min(FRAME - self.came);
                self.head[self.came..self.came + some].copy_from_slice(&piece[..some]);
                self.came += some;
                piece = &piece[some..];
            }
            if self.came < FRAME {
                break;
            }
            let missing = self.size() - self.came;
            let some = piece.len().min(missing);
            complete |= some == missing;
            self.came = if some == missing { 0 } else { self.came + some };
            piece = &piece[some..];
            if single && complete {
                break;
            }
        }
        self.complete |= complete;
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_says_what_is_read_as_a_whole() {
        let of = |content_type: &str, takes_stream| {
            let request = Request::post("/a.B/C").header("content-type", content_type);
            Unit::of_translation(&request.body(()).unwrap(), takes_stream)
        };
        for (content_type, unit, of_a_stream) in [
            ("application/grpc", Some(Unit::Request(0)), Some(Unit::Request(0))),
            ("application/grpc-web+proto", None, None),
            ("application/grpc-web-text", None, None),
            ("application/connect+json", Some(Unit::Request(0)), Some(Unit::prompt())),
            ("application/json; charset=utf-8", Some(Unit::Request(0)), Some(Unit::Request(0))),
            ("application/proto", Some(Unit::Request(0)), Some(Unit::Request(0))),
            ("text/plain", None, None),
        ] {
            assert_eq!(of(content_type, false), unit, "{content_type}");
            assert_eq!(of(content_type, true), of_a_stream, "{content_type}");
        }
    }

    #[test]
    fn a_single_message_counts_to_the_end_of_its_request() {
        let mut unit = Unit::call();
        assert!(unit.is_begun() && !unit.take(&[0, 0, 0, 0, 2, b'x']));
        assert!(unit.take(&[b'y', 0, 0, 0, 0, 0]));
        assert!(!unit.take(&[0; 10]));
        assert_eq!(unit.incomplete(10), FRAME + 2, "whatever comes after it");
    }

    #[test]
    fn messages_are_told_apart_wherever_they_are_cut() {
        let lengths = [0, 1, 300, 7];
        let mut body = Vec::new();
        for length in lengths {
            body.push(0);
            body.extend(u32::try_from(length).unwrap().to_be_bytes());
            body.resize(body.len() + length, b'x');
        }
        // How many messages are complete after so many bytes of the body, what has come of
        // the next one, and what that needs.
        let state = |at: usize| {
            let mut begun = 0;
            for (number, length) in lengths.into_iter().enumerate() {
                let end = begun + FRAME + length;
                if at < end {
                    let came = at - begun;
                    return (number, came, if came < FRAME { came } else { FRAME + length });
                }
                begun = end;
            }
            (lengths.len(), 0, 0)
        };
        for size in 1..body.len() {
            let (mut unit, mut at) = (Unit::stream(), 0);
            for piece in body.chunks(size) {
                let (before, _, _) = state(at);
                at += piece.len();
                let complete = unit.take(piece);
                let (now, came, needs) = state(at);
                assert_eq!(unit.incomplete(300), needs, "in pieces of {size}");
                assert_eq!(complete, now > before, "in pieces of {size}");
                assert_eq!(unit.is_begun(), came > 0);
            }
        }
    }

    #[test]
    fn for_a_message_that_is_too_large_nothing_is_set_aside() {
        let mut unit = Unit::stream();
        unit.take(&[0, 0, 0, 1, 1, b'x']);
        assert_eq!((unit.incomplete(257), unit.incomplete(256)), (FRAME + 257, FRAME + 1));
    }

    #[test]
    fn small_pieces_cost_what_they_take() {
        let mut unit = Unit::Request(0);
        assert!(unit.is_begun());
        (0..10).for_each(|_| assert!(!unit.take(b"x")));
        assert_eq!(unit.incomplete(usize::MAX), 10 * PIECE);
        unit.take(&[0; 1000]);
        assert_eq!(unit.incomplete(usize::MAX), 10 * PIECE + 1000);
    }
}

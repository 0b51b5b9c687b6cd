//! What has to be there before anything is done with it.

use http::Request;
use queuebridge_web::{Protocol, is_native};

/// Flag and length before a message.
const FRAME: usize = 5;
/// What a piece of a body costs whoever keeps the pieces as they come, however small it is.
const PIECE: usize = 256;

/// What of a request is read as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Everything; so many bytes of it have come.
    Request(usize),
    /// Message by message, in the frames of gRPC.
    Message(Frames),
}

impl Unit {
    /// That of a request in its protocol.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let content_type = request.headers().get(http::header::CONTENT_TYPE);
        let content_type = content_type.map_or(&b""[..], |value| value.as_bytes());
        let framed = match Protocol::of(request) {
            Some(Protocol::Grpc) => is_native(request),
            Some(Protocol::GrpcWeb) => !content_type.starts_with(b"application/grpc-web-text"),
            Some(Protocol::Connect) => content_type.starts_with(b"application/connect+"),
            None => false,
        };
        if framed { Self::messages() } else { Self::Request(0) }
    }

    /// Message by message.
    pub(crate) fn messages() -> Self {
        Self::Message(Frames::default())
    }

    /// Takes note of the next piece, and says whether something is complete with it.
    pub(super) fn take(&mut self, piece: &[u8]) -> bool {
        match self {
            Self::Request(bytes) => {
                *bytes += piece.len().max(PIECE);
                false
            }
            Self::Message(frames) => frames.take(piece),
        }
    }

    /// How much has come of what is not complete.
    pub(super) fn incomplete(&self) -> usize {
        match self {
            Self::Request(bytes) => *bytes,
            Self::Message(frames) => frames.came,
        }
    }

    /// Whether there is something to wait for, be it the first byte.
    pub(super) fn is_begun(&self) -> bool {
        match self {
            Self::Request(_) => true,
            Self::Message(frames) => frames.came > 0,
        }
    }
}

/// Where in its messages a body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frames {
    /// Of the message that is coming, with its head.
    came: usize,
    head: [u8; FRAME],
}

impl Frames {
    fn take(&mut self, mut piece: &[u8]) -> bool {
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
            let [_, length @ ..] = self.head;
            let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            let missing = length.saturating_add(FRAME) - self.came;
            let some = piece.len().min(missing);
            complete |= some == missing;
            self.came = if some == missing { 0 } else { self.came + some };
            piece = &piece[some..];
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Version;

    #[test]
    fn the_protocol_says_what_is_read_as_a_whole() {
        for (version, content_type, unit) in [
            (Version::HTTP_2, "application/grpc", Unit::messages()),
            (Version::HTTP_11, "application/grpc", Unit::Request(0)),
            (Version::HTTP_2, "application/grpc-web+proto", Unit::messages()),
            (Version::HTTP_2, "application/grpc-web-text", Unit::Request(0)),
            (Version::HTTP_11, "application/connect+json", Unit::messages()),
            (Version::HTTP_2, "application/json", Unit::Request(0)),
            (Version::HTTP_2, "application/proto", Unit::Request(0)),
            (Version::HTTP_2, "text/plain", Unit::Request(0)),
        ] {
            let request = Request::post("/a.B/C").version(version);
            let request = request.header("content-type", content_type).body(()).unwrap();
            assert_eq!(Unit::of(&request), unit, "{content_type}");
        }
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
        // What is incomplete after so many bytes of the body.
        let incomplete = |at: usize| {
            let mut begun = 0;
            for length in lengths {
                let end = begun + FRAME + length;
                if at < end {
                    return at - begun;
                }
                begun = end;
            }
            at - begun
        };
        for size in 1..body.len() {
            let (mut unit, mut at) = (Unit::messages(), 0);
            for piece in body.chunks(size) {
                let before = incomplete(at);
                at += piece.len();
                let complete = unit.take(piece);
                assert_eq!(unit.incomplete(), incomplete(at), "in pieces of {size}");
                assert_eq!(complete, incomplete(at) != before + piece.len(), "{size}");
                assert_eq!(unit.is_begun(), incomplete(at) > 0);
            }
        }
    }

    #[test]
    fn small_pieces_cost_what_they_take() {
        let mut unit = Unit::Request(0);
        assert!(unit.is_begun());
        (0..10).for_each(|_| assert!(!unit.take(b"x")));
        assert_eq!(unit.incomplete(), 10 * PIECE);
        unit.take(&[0; 1000]);
        assert_eq!(unit.incomplete(), 10 * PIECE + 1000);
    }
}

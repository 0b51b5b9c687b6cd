//! A call as a whole: a function is invoked with one document.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use queuebridge_proto::error::{self, reason};
use std::time::Duration;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::{Code, Status};

/// The document of a synchronous invocation.
pub(super) const DOCUMENT: usize = 6 * 1024 * 1024;
/// What the document has besides the body: headers, names, quotes.
const AROUND: usize = 32 * 1024;
/// What the frames may take, so that their Base64 fits.
const REQUEST: usize = (DOCUMENT - AROUND) / 4 * 3;

/// A caller who leaves the stream open for so long between two messages waits for
/// an answer, which is not going to come before the last of them. The wire does not
/// say what kind of call it is, and unary ones end at once.
const SILENCE: Duration = Duration::from_secs(5);

/// The frames of a request, up to its end.
pub(super) async fn whole(mut body: Body) -> Result<Bytes, Status> {
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    loop {
        let Ok(frame) = timeout(SILENCE, body.frame()).await else { return Err(half_duplex()) };
        let Some(frame) = frame else { break };
        let Ok(data) = frame?.into_data() else { continue };
        let size = all.len() + first.as_ref().map_or(0, Bytes::len) + data.len();
        if size > REQUEST {
            return Err(too_large(size));
        }
        // Most calls are one frame, which is not copied.
        match first.take() {
            None if all.is_empty() => first = Some(data),
            before => {
                all.extend_from_slice(&before.unwrap_or_default());
                all.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| all.freeze()))
}

/// More than a function can be invoked with.
pub(super) fn too_large(size: usize) -> Status {
    let message = format!(
        "the request of {size} bytes or more is larger than the {REQUEST} that a function takes"
    );
    let status = error::status(Code::ResourceExhausted, reason::PAYLOAD_TOO_LARGE, message);
    error::do_not_retry(status)
}

fn half_duplex() -> Status {
    let message = "a Lambda function takes the whole request before it answers, and this call's \
                   stream stays open: full duplex needs a gRPC server as upstream";
    error::status(Code::Unimplemented, reason::UPSTREAM_HALF_DUPLEX, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream::{self, StreamExt};
    use http_body::Frame;
    use http_body_util::StreamBody;

    fn body(frames: Vec<Bytes>, open: bool) -> Body {
        let frames =
            stream::iter(frames.into_iter().map(|data| Ok::<_, Status>(Frame::data(data))));
        match open {
            true => Body::new(StreamBody::new(frames.chain(stream::pending()))),
            false => Body::new(StreamBody::new(frames)),
        }
    }

    #[tokio::test]
    async fn frames_are_put_together() {
        let frames = ["a", "", "bc", "d"].map(Bytes::from).to_vec();
        assert_eq!(whole(body(frames, false)).await.unwrap(), "abcd");
        assert_eq!(whole(body(vec![], false)).await.unwrap(), "");
        assert_eq!(whole(body(vec![Bytes::from("ab")], false)).await.unwrap(), "ab");
    }

    #[tokio::test(start_paused = true)]
    async fn a_conversation_is_refused_and_never_hangs() {
        for frames in [vec![], vec![Bytes::from("a")]] {
            let status = whole(body(frames, true)).await.unwrap_err();
            assert_eq!(status.code(), Code::Unimplemented);
        }
    }

    #[tokio::test]
    async fn what_no_document_holds_is_refused_before_it_is_all_there() {
        let frame = Bytes::from(vec![0; 1024 * 1024]);
        let status = whole(body(vec![frame; 5], true)).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
    }
}

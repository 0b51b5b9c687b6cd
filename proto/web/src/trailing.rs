//! The trailing metadata of Connect's streams.
//!
//! They are known when the last message has gone; the library wants them before
//! the first. It is therefore told none, and the empty frame that it ends a
//! successful stream with is completed on its way out.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};
use std::sync::{Arc, OnceLock};
use tonic::body::Body;

/// The flag of the frame that ends a stream.
const END: u8 = 2;
/// What the library ends a stream with that succeeded without trailing metadata.
/// It is a piece of the body by itself, and no message looks like it, because the
/// flag of a message is 0 or 1.
const EMPTY_END: &[u8] = b"\x02\0\0\0\x02{}";

/// Where the trailing metadata of one response wait for its end.
#[derive(Clone, Default)]
pub(crate) struct Trailing(Arc<OnceLock<HeaderMap>>);

impl Trailing {
    /// Sets them, before the stream of messages ends.
    pub(crate) fn set(&self, metadata: HeaderMap) {
        // A stream ends once.
        let _ = self.0.set(metadata);
    }

    /// The response with the metadata that will have been set when it ends.
    pub(crate) fn complete(self, response: Response<Body>) -> Response<Body> {
        let content_type = response.headers().get(http::header::CONTENT_TYPE);
        let stream =
            content_type.is_some_and(|t| t.as_bytes().starts_with(b"application/connect+"));
        if !stream {
            return response;
        }
        response.map(|body| Body::new(body.map_frame(move |frame| self.completed(frame))))
    }

    fn completed(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match (frame.data_ref(), self.0.get()) {
            (Some(data), Some(metadata)) if data == EMPTY_END && !metadata.is_empty() => {
                Frame::data(end_with(metadata))
            }
            _ => frame,
        }
    }
}

fn end_with(metadata: &HeaderMap) -> Bytes {
    let mut values: Map<String, Value> = Map::new();
    for name in metadata.keys() {
        let all = metadata.get_all(name).iter();
        let all = all.map(|value| String::from_utf8_lossy(value.as_bytes()).into());
        values.insert(name.as_str().to_owned(), Value::Array(all.collect()));
    }
    let json = json!({"metadata": values}).to_string();
    // Metadata came in a block of headers, far below 4 GiB.
    let len = u32::try_from(json.len()).unwrap_or(u32::MAX);
    let mut frame = BytesMut::with_capacity(EMPTY_END.len() + json.len());
    frame.put_u8(END);
    frame.put_u32(len);
    frame.put(json.as_bytes());
    frame.freeze()
}

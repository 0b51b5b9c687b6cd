//! From response to answer document.

use crate::door::Answer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, SET_COOKIE};
use http::{HeaderMap, Response};
use std::collections::HashMap;

/// Who takes the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A load balancer with one value per header.
    AlbSingleValue,
    /// A load balancer with lists of values.
    AlbMultiValue,
    /// The payload format 2.0.
    V2,
}

/// What an answer's document has besides the body: headers, names, quotes.
const AROUND: usize = 16 * 1024;

impl Shape {
    /// The largest document: 1 MB for a load balancer, 6 MB of a synchronous
    /// invocation for the others.
    fn document_bytes(self) -> usize {
        match self {
            Self::AlbSingleValue | Self::AlbMultiValue => 1_000_000,
            Self::V2 => 6 * 1024 * 1024,
        }
    }

    /// What the messages may take, so that their Base64 fits.
    pub(crate) fn response_bytes(self) -> usize {
        (self.document_bytes() - AROUND) / 4 * 3
    }
}

impl Answer {
    /// The size, if it is more than what passes.
    pub(crate) fn too_large(&self, shape: Shape) -> Option<usize> {
        let value = |(k, v): (&String, &String)| k.len() + v.len() + 8;
        let values = |(k, vs): (&String, &Vec<String>)| {
            k.len() + 8 + vs.iter().map(|v| v.len() + 3).sum::<usize>()
        };
        let single = self.headers.iter().flatten().map(value).sum::<usize>();
        let multi = self.multi_value_headers.iter().flatten().map(values).sum::<usize>();
        // Quotes and backslashes of a text body are escaped.
        let escapes = match self.is_base64_encoded {
            true => 0,
            false => self.body.bytes().filter(|c| matches!(c, b'"' | b'\\' | 0..32)).count() * 5,
        };
        let size = self.body.len() + escapes + single + multi + 256;
        (size > shape.document_bytes()).then_some(size)
    }
}

/// The document for a response.
pub(crate) fn encoded(response: Response<Bytes>, shape: Shape) -> Answer {
    let (mut parts, body) = response.into_parts();
    let (body, is_base64_encoded) = match text(&parts.headers, &body) {
        Some(text) => (text, false),
        None => (STANDARD.encode(&body), true),
    };
    let mut cookies = Vec::new();
    if shape == Shape::V2
        && let http::header::Entry::Occupied(set) = parts.headers.entry(SET_COOKIE)
    {
        let text = |value: http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into();
        cookies = set.remove_entry_mult().1.map(text).collect();
    }
    let all = lists(&parts.headers);
    let (headers, multi_value_headers) = match shape {
        Shape::AlbMultiValue => (None, Some(all)),
        Shape::AlbSingleValue | Shape::V2 => {
            let joined = all.into_iter().map(|(name, values)| (name, values.join(",")));
            (Some(joined.collect()), None)
        }
    };
    let status = parts.status;
    let description = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or(""));
    Answer {
        status_code: status.as_u16(),
        status_description: (shape != Shape::V2).then(|| description.trim_end().to_owned()),
        headers,
        multi_value_headers,
        cookies,
        body,
        is_base64_encoded,
    }
}

fn lists(headers: &HeaderMap) -> HashMap<String, Vec<String>> {
    let mut lists: HashMap<String, Vec<String>> = HashMap::new();
    let value = |name: &HeaderName| {
        let values = headers.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    };
    for name in headers.keys() {
        lists.insert(name.to_string(), value(name));
    }
    lists
}

/// The body as it is, if it is text: never with a content coding, and never
/// frames of Connect, whose JSON stands between binary lengths.
fn text(headers: &HeaderMap, body: &Bytes) -> Option<String> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let is_text = media_type.starts_with("text/")
        || media_type == "application/json"
        || media_type.starts_with("application/grpc-web-text");
    if !is_text || headers.contains_key(CONTENT_ENCODING) {
        return None;
    }
    String::from_utf8(body.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(content_type: &str, body: &'static [u8]) -> Response<Bytes> {
        let response = Response::builder().header("content-type", content_type);
        let response = response.header("x-a", "1").header("x-a", "2");
        response.header("set-cookie", "c=1").body(Bytes::from_static(body)).unwrap()
    }

    #[test]
    fn text_stays_and_everything_else_is_base64() {
        for (content_type, body, is_base64_encoded) in [
            ("application/json", &b"{}"[..], false),
            ("text/plain; charset=utf-8", b"ok", false),
            ("application/grpc-web-text+proto", b"AAAA", false),
            ("application/proto", b"\x08\x01", true),
            ("application/grpc-web+proto", b"\0\0\0\0\0", true),
            ("application/connect+json", b"\0\0\0\0\x02{}", true),
            ("text/plain", b"\xff", true),
        ] {
            let answer = encoded(response(content_type, body), Shape::V2);
            assert_eq!(answer.is_base64_encoded, is_base64_encoded, "{content_type}");
        }
    }

    #[test]
    fn headers_have_the_form_in_which_the_request_came() {
        let single = encoded(response("text/plain", b""), Shape::AlbSingleValue);
        assert_eq!(single.headers.unwrap()["x-a"], "1,2");
        assert_eq!(single.status_description.unwrap(), "200 OK");
        let multi = encoded(response("text/plain", b""), Shape::AlbMultiValue);
        assert_eq!(multi.multi_value_headers.unwrap()["x-a"], ["1", "2"]);
        assert!(multi.headers.is_none());
        let v2 = encoded(response("text/plain", b""), Shape::V2);
        assert_eq!(v2.cookies, ["c=1"]);
        assert!(!v2.headers.unwrap().contains_key("set-cookie"));
    }

    #[test]
    fn the_largest_messages_fit_and_more_is_noticed() {
        for shape in [Shape::AlbSingleValue, Shape::AlbMultiValue, Shape::V2] {
            let fits = vec![0; shape.response_bytes()];
            let response = Response::new(Bytes::from(fits));
            assert_eq!(encoded(response, shape).too_large(shape), None);
            let larger = vec![0; shape.document_bytes()];
            let answer = encoded(Response::new(Bytes::from(larger)), shape);
            assert!(answer.too_large(shape).is_some());
            let size = serde_json::to_vec(&answer).unwrap().len();
            assert!(size > shape.document_bytes());
        }
    }
}

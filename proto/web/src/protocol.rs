//! Which protocol a request speaks.

use http::{Method, Request, Version, header};

/// A way to call a method over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC-Web, binary or text.
    GrpcWeb,
    /// Connect, with Protobuf or JSON, also by GET.
    Connect,
    /// gRPC itself.
    Grpc,
}

impl Protocol {
    /// The protocol of a request; `None` for what is no call at all.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Option<Self> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        // Parameters, such as a character set, change nothing.
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        match media_type {
            _ if request.method() == Method::GET => {
                is_connect_get(request).then_some(Self::Connect)
            }
            "application/proto" | "application/json" => Some(Self::Connect),
            other if other.starts_with("application/connect+") => Some(Self::Connect),
            other if other.starts_with("application/grpc-web") => Some(Self::GrpcWeb),
            "application/grpc" => Some(Self::Grpc),
            other if other.starts_with("application/grpc+") => Some(Self::Grpc),
            _ => None,
        }
    }
}

impl Protocol {
    /// A message without fields, as streams of Connect have it: a method with one request
    /// wants to see one before it answers. `None` for other requests.
    pub(crate) fn empty_message<B>(request: &Request<B>) -> Option<&'static [u8]> {
        let content_type = request.headers().get(header::CONTENT_TYPE)?.as_bytes();
        match content_type.strip_prefix(b"application/connect+")? {
            codec if codec.starts_with(b"json") => Some(&[0, 0, 0, 0, 2, b'{', b'}']),
            _ => Some(&[0; 5]),
        }
    }
}

/// Whether a request is gRPC on a connection that carries trailers: no translation
/// stands between it and the services.
#[must_use]
pub fn is_native<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2 && Protocol::of(request) == Some(Protocol::Grpc)
}

/// A GET without these is no call.
fn is_connect_get<B>(request: &Request<B>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|pair| pair.starts_with("encoding="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_tells_the_protocol() {
        let of = |method: &str, uri: &str, content_type: &str| {
            let request = Request::builder().method(method).uri(uri);
            Protocol::of(&request.header("content-type", content_type).body(()).unwrap())
        };
        for (content_type, expected) in [
            ("application/grpc-web-text+proto", Some(Protocol::GrpcWeb)),
            ("application/grpc-web", Some(Protocol::GrpcWeb)),
            ("application/json; charset=utf-8", Some(Protocol::Connect)),
            ("application/connect+proto", Some(Protocol::Connect)),
            ("application/grpc+proto", Some(Protocol::Grpc)),
            ("application/grpcx", None),
            ("text/plain", None),
            ("", None),
        ] {
            assert_eq!(of("POST", "/a.B/C", content_type), expected, "{content_type}");
        }
        assert_eq!(of("GET", "/a.B/C?encoding=json&message=%7B%7D", ""), Some(Protocol::Connect));
        assert_eq!(of("GET", "/healthz", "application/json"), None);
    }
}

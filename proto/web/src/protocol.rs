//! Which protocol a request speaks.

use crate::content_type::{Format, media_type};
use http::{Method, Request, Version};

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
    /// The protocol of a request; `None` for what is no call at all, such as any other verb
    /// than POST, but for GET in Connect.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Option<Self> {
        match *request.method() {
            Method::GET => is_connect_get(request).then_some(Self::Connect),
            Method::POST => match Format::of(request.headers())? {
                Format::Grpc(_) => Some(Self::Grpc),
                Format::GrpcWeb(_) | Format::GrpcWebText(_) => Some(Self::GrpcWeb),
                Format::Connect | Format::ConnectStream => Some(Self::Connect),
            },
            _ => None,
        }
    }

    /// Whether a request is one of Connect's for methods with streams.
    #[must_use]
    pub fn is_connect_stream<B>(request: &Request<B>) -> bool {
        request.method() == Method::POST
            && Format::of(request.headers()) == Some(Format::ConnectStream)
    }

    /// A message without fields, as streams of Connect have it: a method with one request
    /// wants to see one before it answers. `None` for other requests.
    pub(crate) fn empty_message<B>(request: &Request<B>) -> Option<&'static [u8]> {
        if !Self::is_connect_stream(request) {
            return None;
        }
        match media_type(request.headers()).ends_with("+json") {
            true => Some(&[0, 0, 0, 0, 2, b'{', b'}']),
            false => Some(&[0; 5]),
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
    fn verb_and_content_type_tell_the_protocol() {
        let of = |method: &str, uri: &str, content_type: &str| {
            let request = Request::builder().method(method).uri(uri);
            Protocol::of(&request.header("content-type", content_type).body(()).unwrap())
        };
        for (content_type, expected) in [
            ("application/grpc-web-text+proto", Some(Protocol::GrpcWeb)),
            ("application/json; charset=utf-8", Some(Protocol::Connect)),
            ("application/connect+proto", Some(Protocol::Connect)),
            ("application/grpc+proto", Some(Protocol::Grpc)),
            ("text/plain", None),
        ] {
            assert_eq!(of("POST", "/a.B/C", content_type), expected, "{content_type}");
            for other in ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "GET"] {
                assert_eq!(of(other, "/a.B/C", content_type), None, "{other} {content_type}");
            }
        }
        assert_eq!(of("GET", "/a.B/C?encoding=json&message=%7B%7D", ""), Some(Protocol::Connect));
        assert_eq!(of("GET", "/healthz", "application/json"), None);
    }
}

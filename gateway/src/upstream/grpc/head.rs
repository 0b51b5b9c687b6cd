//! The heads of requests and answers, as they are passed on.

use http::header::{CONNECTION, HOST, HeaderName, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Uri, Version, request};

/// Headers that speak of one connection and not of the call. HTTP/2 has none of
/// them; a caller of the gateway may have come by another protocol.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HOST,
    TRANSFER_ENCODING,
    UPGRADE,
    TE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// What a proxy has seen of its caller's certificate, to servers that trust the proxy:
/// nothing that a caller can say of itself.
const CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// Removes what speaks of one connection.
pub(super) fn strip(headers: &mut HeaderMap) {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named = named.flat_map(|names| names.split(',')).map(str::trim);
    let named: Vec<HeaderName> = named.filter_map(|name| name.parse().ok()).collect();
    for name in named.iter().chain([&CLIENT_CERT]) {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The request as the upstream gets it.
pub(super) fn of_request(
    parts: request::Parts,
    scheme: &Scheme,
    authority: &Authority,
) -> Request<()> {
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(scheme.clone());
    uri.authority = Some(authority.clone());
    let path = parts.uri.into_parts().path_and_query;
    uri.path_and_query = Some(path.unwrap_or(PathAndQuery::from_static("/")));
    let mut headers = parts.headers;
    strip(&mut headers);
    headers.insert(TE, HeaderValue::from_static("trailers"));
    let mut request = Request::new(());
    *request.method_mut() = parts.method;
    // All three parts are there, so they make a URI.
    *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_speaks_of_the_connection_is_lost() {
        let request = Request::post("http://gateway:1/a.B/C?q=1")
            .header("host", "gateway:1")
            .header("connection", "keep-alive, x-of-the-hop")
            .header("x-of-the-hop", "1")
            .header("x-forwarded-client-cert", "Hash=1;Subject=\"CN=admin\"")
            .header("te", "gzip")
            .header("grpc-timeout", "1S")
            .header("grpc-encoding", "gzip")
            .header("x-a", "1")
            .header("x-a", "2")
            .header("x-b-bin", "AAE");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let sent = of_request(parts, &Scheme::HTTP, &Authority::from_static("upstream:2"));
        assert_eq!(sent.uri(), "http://upstream:2/a.B/C?q=1");
        assert_eq!((sent.method().as_str(), sent.version()), ("POST", Version::HTTP_2));
        let mut names: Vec<&str> = sent.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["grpc-encoding", "grpc-timeout", "te", "x-a", "x-b-bin"]);
        assert_eq!(sent.headers()["te"], "trailers");
        assert_eq!(sent.headers().get_all("x-a").iter().count(), 2);
    }
}

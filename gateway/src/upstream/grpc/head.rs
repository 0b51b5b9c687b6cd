//! The heads of requests and answers, as they are passed on.

use crate::upstream::controls::is_control;
use http::header::{HeaderName, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Uri, Version, request};
use queuebridge_proto::headers::remove_hop_by_hop;

/// The request as the upstream gets it: without what speaks of the caller's connection or
/// to the gateway.
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
    remove_hop_by_hop(&mut headers);
    let controls: Vec<HeaderName> =
        headers.keys().filter(|name| is_control(name)).cloned().collect();
    for name in &controls {
        headers.remove(name);
    }
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
    fn only_what_speaks_of_the_connection_or_to_the_gateway_is_lost() {
        let request = Request::post("http://gateway:1/a.B/C?q=1")
            .header("host", "gateway:1")
            .header("connection", "keep-alive, x-of-the-hop")
            .header("x-of-the-hop", "1")
            .header("x-forwarded-client-cert", "Hash=1;Subject=\"CN=admin\"")
            .header("te", "gzip")
            .header("trailer", "x-a")
            .header("proxy-authorization", "Basic eDp5")
            .header("grpc-timeout", "1S")
            .header("grpc-encoding", "gzip")
            .header("qb-mode", "sync")
            .header("qb-made-up-bin", "AAE")
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

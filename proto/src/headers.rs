//! Which headers never cross the gateway: one list for every door, the queue and upstreams.

use std::collections::HashSet;
use tonic::codegen::http::{HeaderMap, HeaderName};

/// Headers of one connection (RFC 9110, 7.6.1), beside those that `Connection` names and
/// all that begin with `proxy-`.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    // What a proxy has seen of its caller's certificate, to servers that trust the proxy:
    // nothing that a caller can say of itself.
    "x-forwarded-client-cert",
];

/// Headers that describe the body and the software of one hop.
const OF_THE_BODY: [&str; 6] =
    ["accept-encoding", "content-encoding", "content-length", "content-type", "date", "user-agent"];

/// Headers that browsers and load balancers add by themselves, and that are long, or secrets
/// of theirs. `x-amzn-oidc-identity` tells users apart and is kept.
const OF_BROWSERS_AND_BALANCERS: [&str; 9] = [
    "accept",
    "cookie",
    "dnt",
    "priority",
    "referer",
    "sec-gpc",
    "upgrade-insecure-requests",
    "x-amzn-oidc-accesstoken",
    "x-amzn-oidc-data",
];

/// What browsers say of a request, and pages cannot.
const SEC: [&str; 2] = ["sec-fetch-", "sec-ch-"];

/// Whether a header speaks of one connection and not of the call.
#[must_use]
pub fn is_hop_by_hop(name: &str) -> bool {
    name.starts_with("proxy-") || HOP_BY_HOP.contains(&name)
}

/// Whether a header belongs to the transport: to one connection, to the body, or to gRPC.
#[must_use]
pub fn is_transport(name: &str) -> bool {
    name.starts_with("grpc-")
        || name.starts_with(':')
        || is_hop_by_hop(name)
        || OF_THE_BODY.contains(&name)
}

/// Whether a header is one that a browser or a load balancer adds by itself, and that does
/// not travel through the queue.
#[must_use]
pub fn is_left_out(name: &str) -> bool {
    OF_BROWSERS_AND_BALANCERS.contains(&name) || SEC.iter().any(|begin| name.starts_with(begin))
}

/// The names that `Connection` says are of this connection, too. Those of gRPC and of the
/// body stay: an HTTP/1.1 proxy that names them breaks the call.
#[must_use]
pub fn named_by_connection(headers: &HeaderMap) -> HashSet<HeaderName> {
    let values = headers.get_all("connection").iter().filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|names| names.split(',')).map(str::trim);
    let names = names.filter_map(|name| name.parse::<HeaderName>().ok());
    names.filter(|name| is_hop_by_hop(name.as_str()) || !is_transport(name.as_str())).collect()
}

/// Removes what speaks of one connection.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let mut names = named_by_connection(headers);
    names.extend(headers.keys().filter(|name| is_hop_by_hop(name.as_str())).cloned());
    for name in &names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_one_connection_is_removed_also_where_only_connection_says_so() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Of-The-Hop"),
            ("connection", "grpc-timeout,content-type,no header"),
            ("x-of-the-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic eDp5"),
            ("proxy-authenticate", "Basic"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("host", "a.example"),
            ("x-forwarded-client-cert", "Hash=1"),
            ("grpc-timeout", "1S"),
            ("content-type", "application/grpc"),
            ("x-mine", "1"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        remove_hop_by_hop(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-type", "grpc-timeout", "x-mine"]);
    }

    #[test]
    fn what_tells_users_apart_is_kept() {
        for kept in ["x-amzn-oidc-identity", "x-forwarded-user", "x-amzn-trace-id", "origin"] {
            assert!(!is_transport(kept) && !is_left_out(kept), "{kept}");
        }
        for left_out in ["cookie", "x-amzn-oidc-data", "sec-ch-ua", "sec-fetch-site", "referer"] {
            assert!(is_left_out(left_out), "{left_out}");
        }
    }
}

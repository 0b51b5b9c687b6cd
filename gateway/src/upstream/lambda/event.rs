//! The document that the function is invoked with: a request in gRPC-Web, as an
//! HTTP API would hand it on.
//!
//! gRPC-Web, because its body holds the trailers as a frame of its own: so initial
//! and trailing metadata stay apart, and an answer may have many messages. An HTTP
//! API and not a Function URL, because its answers come in one piece however the
//! function's URL is configured.

use crate::upstream::controls::is_control;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::uri::PathAndQuery;
use http::{HeaderMap, request};
use queuebridge_proto::headers::{is_hop_by_hop, named_by_connection};
use queuebridge_web::media_type;
use serde::Serialize;
use std::collections::BTreeMap;

/// What no domain of a Function URL looks like.
const DOMAIN: &str = "queuebridge.internal";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    version: &'static str,
    route_key: &'static str,
    raw_path: &'a str,
    raw_query_string: &'a str,
    headers: BTreeMap<&'a str, String>,
    request_context: Context<'a>,
    body: String,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    domain_name: &'static str,
    http: Http<'a>,
}

#[derive(Serialize)]
struct Http<'a> {
    method: &'a str,
    path: &'a str,
    protocol: &'static str,
}

/// The document of a call.
pub(super) fn of(parts: &request::Parts, body: &Bytes) -> Result<Vec<u8>, serde_json::Error> {
    let rest = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    serde_json::to_vec(&Event {
        version: "2.0",
        route_key: "$default",
        raw_path: path,
        raw_query_string: query,
        headers: headers(&parts.headers),
        request_context: Context {
            domain_name: DOMAIN,
            http: Http { method: parts.method.as_str(), path, protocol: "HTTP/2.0" },
        },
        body: STANDARD.encode(body),
        is_base64_encoded: true,
    })
}

/// Several values of one name are joined by commas, as the format has it.
fn headers(headers: &HeaderMap) -> BTreeMap<&str, String> {
    let mut joined: BTreeMap<&str, String> = BTreeMap::new();
    let named = named_by_connection(headers);
    for (name, value) in headers {
        let hop = *name == CONTENT_LENGTH || is_hop_by_hop(name.as_str());
        if hop || named.contains(name) || is_control(name) {
            continue;
        }
        let value = String::from_utf8_lossy(value.as_bytes());
        joined
            .entry(name.as_str())
            .and_modify(|values| {
                values.push(',');
                values.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    let media_type = media_type(headers);
    let format = media_type.strip_prefix("application/grpc").unwrap_or_default();
    joined.insert(CONTENT_TYPE.as_str(), format!("application/grpc-web{format}"));
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use serde_json::{Value, json};

    #[test]
    fn a_call_becomes_a_request_of_an_http_api() {
        let request = Request::post("http://gateway/a.B/C")
            .header("content-type", "application/grpc+proto")
            .header("te", "trailers")
            .header("connection", "x-of-the-hop")
            .header("x-of-the-hop", "1")
            .header("keep-alive", "timeout=5")
            .header("x-forwarded-client-cert", "Hash=1")
            .header("grpc-timeout", "5S")
            .header("qb-mode", "sync")
            .header("x-list", "one")
            .header("x-list", "two")
            .header("x-raw-bin", "AP8K");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let document = of(&parts, &Bytes::from_static(&[0, 0, 0, 0, 0])).unwrap();
        let document: Value = serde_json::from_slice(&document).unwrap();
        assert_eq!(
            document["headers"],
            json!({
                "content-type": "application/grpc-web+proto",
                "grpc-timeout": "5S",
                "x-list": "one,two",
                "x-raw-bin": "AP8K",
            })
        );
        assert_eq!(
            (&document["rawPath"], &document["body"]),
            (&json!("/a.B/C"), &json!("AAAAAAA="))
        );
        assert_eq!(document["requestContext"]["http"]["method"], "POST");
        assert_eq!(document["isBase64Encoded"], true);
    }
}

//! From the function's document back to native gRPC.

use crate::upstream::http_status;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, SET_COOKIE};
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::headers::remove_hop_by_hop;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::HashMap;
use tonic::body::Body;
use tonic::{Code, Status};

const STATUS: &str = "grpc-status";
/// Flag and length before a message, or the trailers.
const FRAME: usize = 5;
/// The flag of a frame that holds the trailers.
const TRAILERS: u8 = 0x80;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    status_code: u16,
    #[serde(default)]
    headers: HashMap<String, String>,
    #[serde(default)]
    cookies: Vec<String>,
    #[serde(default, borrow)]
    body: Cow<'a, str>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// The answer in native gRPC. `content_type` is that of the call.
pub(super) fn of(
    document: &[u8],
    content_type: Option<HeaderValue>,
) -> Result<Response<Body>, Status> {
    let answer: Answer<'_> = serde_json::from_slice(document)
        .map_err(|_| not_grpc("the function's answer is none to a request of HTTP"))?;
    let mut headers = headers(&answer)?;
    let grpc_web = headers
        .remove(CONTENT_TYPE)
        .is_some_and(|format| format.as_bytes().starts_with(b"application/grpc-web"));
    let has_status = headers.contains_key(STATUS);
    if !has_status && (answer.status_code != 200 || !grpc_web) {
        return Err(http_status::of(answer.status_code, grpc_web));
    }
    let body: Bytes = match answer.is_base64_encoded {
        true => STANDARD
            .decode(answer.body.as_bytes())
            .map_err(|_| not_grpc("the body of the function's answer is not Base64"))?
            .into(),
        false => answer.body.into_owned().into(),
    };
    let (messages, trailers) = apart(&body)?;
    let native = HeaderValue::from_static("application/grpc");
    headers.insert(CONTENT_TYPE, content_type.unwrap_or(native));
    let trailers = match trailers {
        Some(trailers) if trailers.contains_key(STATUS) => {
            headers.remove(STATUS);
            Some(trailers)
        }
        // The status is in the headers, and there was nothing else to say.
        _ if has_status && messages.is_empty() => None,
        _ => return Err(not_grpc("the function's answer ends without a status")),
    };
    let mut response = Response::new(body_of(messages, trailers));
    *response.headers_mut() = headers;
    Ok(response)
}

fn body_of(messages: Bytes, trailers: Option<HeaderMap>) -> Body {
    let Some(trailers) = trailers else { return Body::empty() };
    let data = (!messages.is_empty()).then(|| Ok::<_, Status>(Frame::data(messages)));
    let frames = data.into_iter().chain([Ok(Frame::trailers(trailers))]);
    Body::new(StreamBody::new(stream::iter(frames)))
}

fn headers(answer: &Answer<'_>) -> Result<HeaderMap, Status> {
    let mut headers = HeaderMap::new();
    for (name, joined) in &answer.headers {
        append(&mut headers, name, joined)?;
    }
    for cookie in &answer.cookies {
        append(&mut headers, SET_COOKIE.as_str(), cookie)?;
    }
    headers.remove(CONTENT_LENGTH);
    remove_hop_by_hop(&mut headers);
    Ok(headers)
}

/// Base64 has no comma; other values may.
fn append(headers: &mut HeaderMap, name: &str, joined: &str) -> Result<(), Status> {
    let wrong = || not_grpc("the function's answer has a header that is none");
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
    let parts = match name.as_str().ends_with("-bin") {
        true => joined.split(',').map(str::trim).collect(),
        false => vec![joined],
    };
    for part in parts {
        let value = HeaderValue::from_str(part).map_err(|_| wrong())?;
        headers.append(name.clone(), value);
    }
    Ok(())
}

/// The frames of messages as they are, and the trailers behind them.
fn apart(body: &Bytes) -> Result<(Bytes, Option<HeaderMap>), Status> {
    let cut = || not_grpc("the function's answer is cut");
    let mut start = 0;
    while let Some([flag, length @ ..]) = body.get(start..start + FRAME) {
        let length: [u8; 4] = length.try_into().map_err(|_| cut())?;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| cut())?;
        let content = body.get(start + FRAME..start + FRAME + length).ok_or_else(cut)?;
        if flag & TRAILERS != 0 {
            return Ok((body.slice(..start), Some(block(content)?)));
        }
        start += FRAME + length;
    }
    if start == body.len() { Ok((body.clone(), None)) } else { Err(cut()) }
}

/// A block of headers as HTTP/1 has it.
fn block(content: &[u8]) -> Result<HeaderMap, Status> {
    let mut trailers = HeaderMap::new();
    for line in content.split(|c| *c == b'\n').map(<[u8]>::trim_ascii) {
        let Some(colon) = line.iter().position(|c| *c == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let name = HeaderName::from_bytes(name).ok();
        let pair = name.zip(HeaderValue::from_bytes(value).ok());
        let (name, value) =
            pair.ok_or_else(|| not_grpc("the function's answer has a trailer that is none"))?;
        trailers.append(name, value);
    }
    Ok(trailers)
}

fn not_grpc(message: &str) -> Status {
    let message = format!("{message}; the function must serve gRPC-Web, as the worker kit does");
    error::status(Code::Unknown, reason::UPSTREAM_NOT_GRPC, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    fn document(headers: Value, body: &[u8]) -> Vec<u8> {
        let body = STANDARD.encode(body);
        let answer = json!({"statusCode": 200, "headers": headers, "body": body,
            "isBase64Encoded": true});
        serde_json::to_vec(&answer).unwrap()
    }

    fn frames(messages: &[u8], trailers: &str) -> Vec<u8> {
        let length = u32::try_from(trailers.len()).unwrap().to_be_bytes();
        [messages, &[TRAILERS], &length, trailers.as_bytes()].concat()
    }

    #[tokio::test]
    async fn messages_and_both_kinds_of_metadata_come_apart() {
        let headers = json!({"content-type": "application/grpc-web+proto", "x-a": "1,2",
            "x-b-bin": "AA,AQ", "content-length": "9"});
        let messages = [0, 0, 0, 0, 1, 7, 1, 0, 0, 0, 0];
        let body = frames(&messages, "grpc-status:0\r\nx-t: a:b\r\nx-t:c\r\n");
        let format = HeaderValue::from_static("application/grpc+proto");
        let response = of(&document(headers, &body), Some(format)).unwrap();
        let (head, body) = response.into_parts();
        assert_eq!(head.headers["content-type"], "application/grpc+proto");
        assert_eq!(head.headers["x-a"], "1,2");
        assert_eq!(head.headers.get_all("x-b-bin").iter().count(), 2);
        assert_eq!(head.headers.len(), 4);
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().unwrap().clone();
        assert_eq!(trailers.get_all("x-t").iter().collect::<Vec<_>>(), ["a:b", "c"]);
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(body.to_bytes(), &messages[..]);
    }

    #[tokio::test]
    async fn a_status_in_the_headers_is_a_whole_answer() {
        let headers = json!({"content-type": "application/grpc-web", "grpc-status": "5",
            "grpc-message": "none"});
        let response = of(&document(headers, b""), None).unwrap();
        assert_eq!(Status::from_header_map(response.headers()).unwrap().code(), Code::NotFound);
        assert!(http_body::Body::is_end_stream(response.body()));
    }

    #[test]
    fn what_is_no_answer_is_a_status_and_no_panic() {
        let web = || json!({"content-type": "application/grpc-web"});
        for (document, code) in [
            (b"null".to_vec(), Code::Unknown),
            (b"{}".to_vec(), Code::Unknown),
            (br#"{"statusCode": 404}"#.to_vec(), Code::Unimplemented),
            (br#"{"statusCode": 200, "body": "hello"}"#.to_vec(), Code::Unknown),
            (document(web(), &[0, 0, 0, 0, 9, 1]), Code::Unknown),
            (document(web(), &[0, 0]), Code::Unknown),
            (document(web(), &[0, 0, 0, 0, 0]), Code::Unknown),
            (document(web(), &frames(b"", "x-t:1")), Code::Unknown),
            (document(web(), &frames(b"", "a b:1")), Code::Unknown),
            (document(json!({"bad name": "1"}), b""), Code::Unknown),
        ] {
            let status = of(&document, None).map(|_| ()).unwrap_err();
            assert_eq!(status.code(), code, "{}", String::from_utf8_lossy(&document));
        }
    }
}

//! Errors that fit into the headers that their clients take.
//!
//! An error of gRPC is a block of headers, and a client that is sent a larger one than it
//! takes has neither text nor code. gRPC's C core (Python, Ruby, PHP, C++) refuses blocks
//! from 8 KiB on, proxies often as well, Node from 16 KiB on. So what is longer loses metadata,
//! details and text, and keeps its code. In the bodies of Connect it stays whole.

use base64::Engine;
use bytes::Bytes;
use futures_util::TryFutureExt;
use futures_util::future::MapOk;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body_util::BodyExt;
use prost::Message;
use queuebridge_proto::metadata::{BASE64, is_transport};
use std::convert::Infallible;
use tonic::body::Body;
use tonic::{Code, Status};

/// In the metadata of an error: what of it was cut, of `message`, `details` and `metadata`.
pub(crate) const TRUNCATED: &str = "qb-truncated";

/// The most bytes of a block of headers, with something left for what proxies add.
const MOST: usize = 7 * 1024 + 512;
/// What a header counts beside its name and value (RFC 9113, 6.5.2).
const ENTRY: usize = 32;
/// What is kept for saying that there was more.
const FOR_TRUNCATED: usize = 80;
/// Ends a text that was cut.
const MARK: &str = "\u{2026} [truncated]";

const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";
const DETAILS: &str = "grpc-status-details-bin";

/// The response to a native call, whose error fits.
pub(crate) fn fitted(mut response: Response<Body>) -> Response<Body> {
    if response.headers().contains_key(STATUS) {
        fit(response.headers_mut());
        return response;
    }
    response.map(|body| {
        Body::new(body.map_frame(|mut frame| {
            if let Some(trailers) = frame.trailers_mut() {
                fit(trailers);
            }
            frame
        }))
    })
}

/// A call whose response is [`fitted`].
pub(crate) type Fitted<F> = MapOk<F, fn(Response<Body>) -> Response<Body>>;

/// Makes the error of a call fit.
pub(crate) fn fitting<F>(call: F) -> Fitted<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    call.map_ok(fitted as fn(Response<Body>) -> Response<Body>)
}

/// Cuts the error in a block of headers, if it is too long.
pub(crate) fn fit(headers: &mut HeaderMap) {
    let Some(code) = headers.get(STATUS).cloned() else { return };
    if code == "0" || size(headers) <= MOST {
        return;
    }
    let mut cut = Vec::new();
    let message = take_message(headers);
    let details = headers.remove(DETAILS);
    while size(headers) > MOST / 2 {
        let Some(name) = largest_of_its_own(headers) else { break };
        headers.remove(name);
        cut.push("metadata");
    }
    cut.dedup();
    let room = MOST.saturating_sub(size(headers) + FOR_TRUNCATED + MESSAGE.len() + ENTRY);
    // The details repeat the text.
    let for_text = if details.is_some() { room / 3 } else { room };
    let text = shortened(&message, for_text);
    if text != message {
        cut.push("message");
    }
    let room = room.saturating_sub(encoded_len(&text));
    let (details, whole) =
        details.map_or((Bytes::new(), true), |given| some_of(&given, for_text / 2, room));
    if !whole {
        cut.push("details");
    }
    // The code is written back as it came, whatever it is.
    let status = Status::with_details(Code::Unknown, text, details);
    let _ = status.add_header(headers);
    headers.insert(STATUS, code);
    if let Ok(cut) = HeaderValue::try_from(cut.join(", ")) {
        headers.insert(TRUNCATED, cut);
    }
}

fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ENTRY).sum()
}

fn take_message(headers: &mut HeaderMap) -> String {
    let mut alone = HeaderMap::new();
    alone.insert(STATUS, HeaderValue::from_static("2"));
    if let Some(message) = headers.remove(MESSAGE) {
        alone.insert(MESSAGE, message);
    }
    Status::from_header_map(&alone).map(|status| status.message().to_owned()).unwrap_or_default()
}

/// The largest entry that the handler itself has added.
fn largest_of_its_own(headers: &HeaderMap) -> Option<HeaderName> {
    let own = |name: &&HeaderName| {
        let name = name.as_str();
        let of_pages = name.starts_with("access-control-") || name == "vary";
        !is_transport(name) && !name.starts_with("qb-") && !of_pages
    };
    let size = |name: &&HeaderName| -> usize {
        headers.get_all(*name).iter().map(|value| value.len() + ENTRY).sum()
    };
    headers.keys().filter(own).max_by_key(size).cloned()
}

/// As many of the details as have room, from the first on, and whether they are all.
/// What cannot be read cannot be cut, and is left out.
fn some_of(given: &HeaderValue, for_text: usize, room: usize) -> (Bytes, bool) {
    let bytes = BASE64.decode(given.as_bytes()).unwrap_or_default();
    let Ok(mut all) = tonic_types::Status::decode(&bytes[..]) else { return (Bytes::new(), false) };
    let count = all.details.len();
    all.message = shortened(&all.message, for_text);
    let len = |all: &tonic_types::Status| DETAILS.len() + ENTRY + all.encoded_len().div_ceil(3) * 4;
    while len(&all) > room {
        if all.details.pop().is_none() {
            return (Bytes::new(), false);
        }
    }
    let whole = all.details.len() == count;
    let bytes = if all.details.is_empty() { Bytes::new() } else { all.encode_to_vec().into() };
    (bytes, whole)
}

/// A text whose percent-encoding takes at most so many bytes.
fn shortened(text: &str, most: usize) -> String {
    if encoded_len(text) <= most {
        return text.to_owned();
    }
    let most = most.saturating_sub(encoded_len(MARK));
    let mut len = 0;
    let fits = |character: &char| {
        len += encoded_len(character.encode_utf8(&mut [0; 4]));
        len <= most
    };
    let mut short: String = text.chars().take_while(fits).collect();
    short.push_str(MARK);
    short
}

/// What percent-encoding makes of a text, at most: tonic encodes more than it must.
fn encoded_len(text: &str) -> usize {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'(),;:=&+$@/[]|".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { 1 } else { 3 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::Any;
    use tonic::metadata::MetadataMap;

    fn details(count: usize, size: usize) -> Vec<Any> {
        let any = |n| Any { type_url: format!("t/{n}"), value: vec![7; size] };
        (0..count).map(any).collect()
    }

    fn headers(message: &str, details: Vec<Any>, metadata: MetadataMap) -> HeaderMap {
        let all = tonic_types::Status { code: 9, message: message.to_owned(), details };
        let details = if all.details.is_empty() { vec![] } else { all.encode_to_vec() };
        let status = Status::with_details_and_metadata(
            Code::FailedPrecondition,
            message,
            details.into(),
            metadata,
        );
        status.into_http::<()>().headers().clone()
    }

    fn read(headers: &HeaderMap) -> (Status, tonic_types::Status, String) {
        let status = Status::from_header_map(headers).unwrap();
        let details = tonic_types::Status::decode(status.details()).unwrap();
        let cut = headers.get(TRUNCATED).map(|cut| cut.to_str().unwrap().to_owned());
        (status, details, cut.unwrap_or_default())
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let mut fits = headers(&"m".repeat(1000), details(3, 500), MetadataMap::new());
        let before = fits.clone();
        fit(&mut fits);
        assert_eq!(fits, before);
        // A success with much metadata is the handler's and its caller's affair.
        let mut ok = HeaderMap::new();
        ok.insert(STATUS, "0".parse().unwrap());
        ok.insert("x-long", "v".repeat(20_000).parse().unwrap());
        let before = ok.clone();
        fit(&mut ok);
        assert_eq!(ok, before);
    }

    #[test]
    fn every_long_error_keeps_its_code_and_fits() {
        let mut metadata = MetadataMap::new();
        for n in 0..20 {
            let key = format!("x-entry-{n}").parse::<tonic::metadata::AsciiMetadataKey>().unwrap();
            metadata.insert(key, "v".repeat(600).parse().unwrap());
        }
        metadata.insert("grpc-retry-pushback-ms", "-1".parse().unwrap());
        metadata.insert("qb-job-id", "id".parse().unwrap());
        let none = MetadataMap::new;
        for (message, details, metadata, expected) in [
            ("x".repeat(9_000), vec![], none(), "message"),
            ("a b ".repeat(3_000), vec![], none(), "message"),
            ("\u{fc}\u{20ac}\u{1f600}".repeat(1_000), vec![], none(), "message"),
            ("%\"\n".repeat(3_000), vec![], none(), "message"),
            ("x".repeat(5_000), details(1, 100), none(), "message"),
            ("short".to_owned(), details(8, 1_000), none(), "details"),
            ("short".to_owned(), details(1, 9_000), none(), "details"),
            (
                "x".repeat(100_000),
                details(100, 1_000),
                metadata.clone(),
                "metadata, message, details",
            ),
            ("short".to_owned(), vec![], metadata, "metadata"),
        ] {
            let mut headers = headers(&message, details.clone(), metadata.clone());
            fit(&mut headers);
            assert!(size(&headers) <= MOST, "{}", size(&headers));
            let (status, kept, cut) = read(&headers);
            assert_eq!((status.code(), cut.as_str()), (Code::FailedPrecondition, expected));
            let text = status.message();
            match text.strip_suffix(MARK) {
                Some(begin) => assert!(message.starts_with(begin) && begin.len() > 300, "{begin}"),
                None => assert_eq!(text, message),
            }
            assert!(details.starts_with(&kept.details));
            for kept in ["grpc-retry-pushback-ms", "qb-job-id"] {
                assert_eq!(headers.contains_key(kept), metadata.contains_key(kept));
            }
        }
    }

    #[test]
    fn as_much_is_kept_as_has_room() {
        let mut cut = headers("short", details(8, 1_000), MetadataMap::new());
        fit(&mut cut);
        assert_eq!(read(&cut).1.details.len(), 5);
        let mut cut = headers(&"x".repeat(9_000), vec![], MetadataMap::new());
        fit(&mut cut);
        assert!(size(&cut) > MOST - 200);
    }

    #[test]
    fn what_an_upstream_says_wrongly_ends_nothing() {
        let mut odd = HeaderMap::new();
        odd.insert(STATUS, "4711".parse().unwrap());
        odd.insert(DETAILS, "%%%".repeat(4_000).parse().unwrap());
        odd.insert(MESSAGE, "%ff".repeat(4_000).parse().unwrap());
        fit(&mut odd);
        assert_eq!(odd[STATUS], "4711");
        assert!(size(&odd) <= MOST && !odd.contains_key(DETAILS));
    }
}

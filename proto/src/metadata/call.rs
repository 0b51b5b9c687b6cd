//! The metadata of a call, from the headers that it came with through any door.

use super::BASE64;
use crate::headers::{is_left_out, is_transport, named_by_connection};
use crate::v1::{Metadatum, metadatum::Value};
use base64::Engine;
use bytes::Bytes;
use tonic::codegen::http::{HeaderMap, HeaderValue};
use tonic::metadata::MetadataMap;

/// One list over all headers of this name (W3C Trace Context, 3.3.1.1).
const TRACESTATE: &str = "tracestate";

/// A header that cannot be kept.
#[derive(Debug, PartialEq, Eq)]
pub struct BadHeader {
    /// Its name.
    pub key: String,
    /// What its values have to be.
    pub rule: &'static str,
}

/// The metadata of a call, by gRPC's PROTOCOL-HTTP2: without what belongs to the transport
/// and what browsers and load balancers add by themselves. Values of a `-bin` key are split
/// at commas, and read with and without padding. A tab becomes a space.
///
/// # Errors
/// The first header whose values are no metadata.
pub fn from_call(map: &MetadataMap) -> Result<Vec<Metadatum>, BadHeader> {
    let headers: &HeaderMap = map.as_ref();
    let named = named_by_connection(headers);
    let mut entries = Vec::with_capacity(headers.len());
    for name in headers.keys() {
        let key = name.as_str();
        if is_transport(key) || is_left_out(key) || named.contains(name) {
            continue;
        }
        let mut values = Vec::new();
        for value in headers.get_all(name) {
            let read = match key.ends_with("-bin") {
                true => binary(value, &mut values),
                false => text(value).map(|text| values.push(Value::Ascii(text))),
            };
            let rule = match key.ends_with("-bin") {
                true => "values of a -bin key are Base64, joined by commas",
                false => "an ASCII value has printable characters only",
            };
            read.ok_or_else(|| BadHeader { key: key.to_owned(), rule })?;
        }
        if key == TRACESTATE {
            values = vec![joined(values)];
        }
        let entry = |value| Metadatum { key: key.to_owned(), value: Some(value) };
        entries.extend(values.into_iter().map(entry));
    }
    Ok(entries)
}

fn binary(value: &HeaderValue, values: &mut Vec<Value>) -> Option<()> {
    for part in value.as_bytes().split(|byte| *byte == b',') {
        let decoded = BASE64.decode(part.trim_ascii()).ok()?;
        values.push(Value::Binary(Bytes::from(decoded)));
    }
    Some(())
}

/// RFC 9110, 5.5, lets a value have tabs between its words; gRPC has spaces only.
fn text(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?;
    Some(text.replace('\t', " ").trim().to_owned())
}

fn joined(values: Vec<Value>) -> Value {
    let text = |value| match value {
        Value::Ascii(text) if !text.is_empty() => Some(text),
        _ => None,
    };
    Value::Ascii(values.into_iter().filter_map(text).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[(&'static str, &[u8])]) -> Result<Vec<(String, Value)>, BadHeader> {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let entries = from_call(&MetadataMap::from_headers(headers))?;
        Ok(entries.into_iter().map(|entry| (entry.key, entry.value.unwrap())).collect())
    }

    fn ascii(key: &str, text: &str) -> (String, Value) {
        (key.to_owned(), Value::Ascii(text.to_owned()))
    }

    fn bytes(key: &str, bytes: &'static [u8]) -> (String, Value) {
        (key.to_owned(), Value::Binary(Bytes::from_static(bytes)))
    }

    #[test]
    fn binary_values_are_split_and_read_with_and_without_padding() {
        let given: &[(_, &[u8])] = &[("x-bin", b"AQ==,Ag, AwQ="), ("x-bin", b"/w")];
        let values = [bytes("x-bin", &[1]), bytes("x-bin", &[2]), bytes("x-bin", &[3, 4])];
        let more = [bytes("x-bin", &[255])];
        assert_eq!(read(given).unwrap(), [&values[..], &more].concat());
        assert_eq!(read(&[("x-bin", b"")]).unwrap(), [bytes("x-bin", b"")]);
    }

    #[test]
    fn what_is_no_metadata_is_refused_by_name() {
        for (key, value) in [("x-bin", &b"AQ,!"[..]), ("x-bin", b"A"), ("x-name", b"Z\xfcrich")] {
            assert_eq!(read(&[("x-ok", b"1"), (key, value)]).unwrap_err().key, key);
        }
    }

    #[test]
    fn a_tab_becomes_a_space() {
        assert_eq!(read(&[("x-a", b"one\ttwo\t")]).unwrap(), [ascii("x-a", "one two")]);
    }

    #[test]
    fn several_trace_states_are_one_list() {
        let given: &[(_, &[u8])] =
            &[("tracestate", b"a=1,b=2"), ("tracestate", b""), ("tracestate", b"c=3")];
        assert_eq!(read(given).unwrap(), [ascii("tracestate", "a=1,b=2,c=3")]);
        let given: &[(_, &[u8])] = &[("x-a", b"1"), ("x-a", b"2")];
        assert_eq!(read(given).unwrap(), [ascii("x-a", "1"), ascii("x-a", "2")]);
    }

    #[test]
    fn what_browsers_proxies_and_load_balancers_add_stays_behind() {
        let long = vec![b'c'; 20_000];
        let given: &[(_, &[u8])] = &[
            ("connection", b"keep-alive, x-of-the-hop"),
            ("keep-alive", b"timeout=5"),
            ("x-of-the-hop", b"1"),
            ("x-forwarded-client-cert", b"Hash=1"),
            ("cookie", &long),
            ("x-amzn-oidc-data", &long),
            ("sec-ch-ua", b"\"\xfc\""),
            ("x-amzn-oidc-identity", b"ann"),
        ];
        assert_eq!(read(given).unwrap(), [ascii("x-amzn-oidc-identity", "ann")]);
    }
}

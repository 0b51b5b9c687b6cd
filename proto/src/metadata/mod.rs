//! Metadata between its Protobuf form and tonic's.

mod call;

pub use call::{BadHeader, from_call};

use crate::error::RETRY_PUSHBACK;
pub use crate::headers::is_transport;
use crate::headers::named_by_connection;
use crate::v1::{Metadatum, metadatum::Value};
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use tonic::metadata::{
    AsciiMetadataKey, BinaryMetadataKey, BinaryMetadataValue, KeyAndValueRef, MetadataMap,
    MetadataValue,
};

/// The most entries a submission may carry.
pub const MAX_ENTRIES: usize = 64;
/// The most bytes that the keys and values of a submission may take together:
/// what HTTP/2 peers commonly accept as a header block.
pub const MAX_BYTES: usize = 8 * 1024;
/// How binary values stand in headers, and texts of gRPC-Web: Base64 that is read with and
/// without padding (gRPC, PROTOCOL-HTTP2).
pub const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const MAX_KEY: usize = 128;

/// Checks the metadata of a submission. The error names the entry and its rule.
///
/// # Errors
/// When an entry breaks a rule of [`Metadatum`]; sizes are judged apart by
/// [`size`].
pub fn check(entries: &[Metadatum]) -> Result<(), (usize, &'static str)> {
    for (index, entry) in entries.iter().enumerate() {
        let rule = |rule| Err((index, rule));
        let legal = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.');
        if entry.key.is_empty() || entry.key.len() > MAX_KEY || !entry.key.bytes().all(legal) {
            return rule("a key has 1 to 128 characters of a-z, 0-9, '_', '-' and '.'");
        }
        if is_transport(&entry.key) {
            return rule("the key belongs to the transport");
        }
        match (&entry.value, entry.key.ends_with("-bin")) {
            (None, _) => return rule("the value is not set"),
            (Some(Value::Ascii(_)), true) => {
                return rule("a key ending in -bin has a binary value");
            }
            (Some(Value::Binary(_)), false) => {
                return rule("a binary value needs a key ending in -bin");
            }
            (Some(Value::Ascii(text)), _) if !text.bytes().all(|c| matches!(c, 0x20..=0x7e)) => {
                return rule("an ASCII value has printable characters only");
            }
            _ => {}
        }
    }
    Ok(())
}

/// The bytes that the keys and values take together.
#[must_use]
pub fn size(entries: &[Metadatum]) -> usize {
    let value = |entry: &Metadatum| match &entry.value {
        Some(Value::Ascii(text)) => text.len(),
        Some(Value::Binary(bytes)) => bytes.len(),
        None => 0,
    };
    entries.iter().map(|entry| entry.key.len() + value(entry)).sum()
}

/// Tonic's form. Entries that cannot be metadata are left out; [`check`] lets
/// none of them in.
#[must_use]
pub fn to_metadata_map(entries: &[Metadatum]) -> MetadataMap {
    let mut map = MetadataMap::with_capacity(entries.len());
    for entry in entries {
        match &entry.value {
            Some(Value::Ascii(text)) => {
                if let (Ok(key), Ok(value)) =
                    (entry.key.parse::<AsciiMetadataKey>(), MetadataValue::try_from(text.as_str()))
                {
                    map.append(key, value);
                }
            }
            Some(Value::Binary(bytes)) => {
                if let Ok(key) = entry.key.parse::<BinaryMetadataKey>() {
                    map.append_bin(key, BinaryMetadataValue::from_bytes(bytes));
                }
            }
            None => {}
        }
    }
    map
}

/// The Protobuf form of what a handler answers, without what belongs to the transport. Values
/// that are no metadata are left out; [`from_call`] is for what callers send.
#[must_use]
pub fn from_metadata_map(map: &MetadataMap) -> Vec<Metadatum> {
    from_entries(map, |key| !is_transport(key))
}

/// The same for the trailing metadata of a failed call, with what tells its client whether
/// and when to try again ([`RETRY_PUSHBACK`]).
#[must_use]
pub fn from_trailers(map: &MetadataMap) -> Vec<Metadatum> {
    from_entries(map, |key| !is_transport(key) || key == RETRY_PUSHBACK)
}

fn from_entries(map: &MetadataMap, crosses: impl Fn(&str) -> bool) -> Vec<Metadatum> {
    let named = named_by_connection(map.as_ref());
    let crosses = |key: &str| crosses(key) && !named.iter().any(|name| name == key);
    map.iter()
        .filter_map(|entry| match entry {
            KeyAndValueRef::Ascii(key, value) if crosses(key.as_str()) => {
                let text = value.to_str().ok()?.to_owned();
                Some(Metadatum { key: key.as_str().to_owned(), value: Some(Value::Ascii(text)) })
            }
            KeyAndValueRef::Binary(key, value) if crosses(key.as_str()) => {
                let bytes: Bytes = value.to_bytes().ok()?;
                Some(Metadatum { key: key.as_str().to_owned(), value: Some(Value::Binary(bytes)) })
            }
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ascii(key: &str, text: &str) -> Metadatum {
        Metadatum { key: key.into(), value: Some(Value::Ascii(text.into())) }
    }

    fn binary(key: &str, bytes: &'static [u8]) -> Metadatum {
        Metadatum { key: key.into(), value: Some(Value::Binary(Bytes::from_static(bytes))) }
    }

    #[test]
    fn repeated_and_binary_values_survive_in_order() {
        let entries = vec![ascii("a", "1"), ascii("a", "2"), binary("b-bin", &[0, 1, 255])];
        assert_eq!(check(&entries), Ok(()));
        assert_eq!(from_metadata_map(&to_metadata_map(&entries)), entries);
        assert_eq!(size(&entries), 2 + 2 + 5 + 3);
    }

    #[test]
    fn each_broken_rule_is_found_at_its_entry() {
        let unset = Metadatum { key: "a".into(), value: None };
        for bad in [
            ascii("", "v"),
            ascii("Upper", "v"),
            ascii("sp ace", "v"),
            ascii("grpc-timeout", "1S"),
            ascii("content-type", "x"),
            ascii("proxy-authorization", "x"),
            ascii("x-forwarded-client-cert", "x"),
            ascii("a-bin", "text"),
            binary("a", b"x"),
            ascii("a", "tab\t"),
            ascii("a", "ü"),
            unset,
        ] {
            assert_eq!(check(&[ascii("ok", "v"), bad.clone()]).unwrap_err().0, 1, "{bad:?}");
        }
    }

    #[test]
    fn the_transport_keeps_its_own_headers() {
        let mut map = MetadataMap::new();
        map.insert("grpc-status", "0".parse().unwrap());
        map.insert("content-type", "application/grpc".parse().unwrap());
        map.insert("mine", "1".parse().unwrap());
        map.insert("keep-alive", "timeout=5".parse().unwrap());
        map.insert("connection", "x-of-the-hop".parse().unwrap());
        map.insert("x-of-the-hop", "1".parse().unwrap());
        assert_eq!(from_metadata_map(&map), vec![ascii("mine", "1")]);
    }

    #[test]
    fn a_failed_call_keeps_what_its_handler_says_of_trying_again() {
        let mut map = MetadataMap::new();
        map.insert("grpc-retry-pushback-ms", "-1".parse().unwrap());
        map.insert("grpc-status", "14".parse().unwrap());
        assert_eq!(from_trailers(&map), vec![ascii("grpc-retry-pushback-ms", "-1")]);
        assert!(from_metadata_map(&map).is_empty());
    }
}

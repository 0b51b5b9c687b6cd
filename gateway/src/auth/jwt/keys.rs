//! A set of keys (RFC 7517), as an issuer publishes it.

use super::jwk::{Known, read};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// So many keys are tried for one token.
const MOST_TRIES: usize = 16;
/// So much of a key's name is shown.
const SHOWN: usize = 64;

/// Why there is no key for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// The issuer has no such key.
    Unknown,
    /// The issuer's keys cannot be had.
    Unavailable,
}

/// The keys of an issuer that can be used here.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    known: Vec<Known>,
    /// What is wrong with others, by their names.
    left_out: Vec<String>,
}

/// The keys that a token may be signed with.
#[derive(Debug)]
pub(super) struct Candidates {
    /// At least one.
    pub(super) keys: Vec<DecodingKey>,
    /// Whether the token names them.
    pub(super) are_named: bool,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a JWK set. Keys of kinds that are not known here are left out, as the RFC
    /// wants it, and so are secret ones.
    pub(super) fn parse(json: &[u8]) -> Result<Self, String> {
        let document: Document =
            serde_json::from_slice(json).map_err(|error| format!("not a JWK set: {error}"))?;
        // None at all is an answer, too: that of an issuer whose keys were stolen.
        let mut set = Self::default();
        for (number, key) in (1..).zip(&document.keys) {
            let Value::Object(key) = key else { continue };
            match read(key) {
                Ok(known) => set.known.extend(known),
                Err(problem) => {
                    let kid = key.get("kid").and_then(Value::as_str);
                    let name = kid.map_or_else(
                        || format!("key {number}, without a `kid`"),
                        |kid| format!("key {:?}", kid.chars().take(SHOWN).collect::<String>()),
                    );
                    set.left_out.push(format!("{name}: {problem}"));
                }
            }
        }
        Ok(set)
    }

    /// What is wrong with keys that are left out, each with its name.
    pub(super) fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The keys that a token names; those without a name, if none has that name; all that fit,
    /// if the token names none.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Candidates> {
        let fitting = || self.known.iter().filter(|known| known.algorithms.contains(&algorithm));
        let taken = |wanted: &dyn Fn(&Known) -> bool| -> Vec<DecodingKey> {
            let keys = fitting().filter(|known| wanted(known)).map(|known| known.key.clone());
            keys.take(MOST_TRIES).collect()
        };
        let named = id.map(|id| taken(&|known| known.id.as_deref() == Some(id)));
        let (keys, are_named) = match named {
            Some(named) if !named.is_empty() => (named, true),
            Some(_) => (taken(&|known| known.id.is_none()), false),
            None => (taken(&|_| true), false),
        };
        (!keys.is_empty()).then_some(Candidates { keys, are_named })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
    use serde_json::json;

    fn set(keys: &[Value]) -> KeySet {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    /// A key with these members added or, with null, taken away.
    fn with(key: &Value, members: Value) -> Value {
        let (mut key, Value::Object(members)) = (key.clone(), members) else { panic!() };
        for (name, value) in members {
            key[name] = value;
        }
        key.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        key
    }

    fn number(size: usize) -> String {
        let bytes: Vec<u8> = (249..=255u8).rev().cycle().take(size).collect();
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn ec(curve: &str, size: usize) -> Value {
        json!({"kty": "EC", "crv": curve, "x": number(size), "y": number(size)})
    }

    fn rsa() -> Value {
        json!({"kty": "RSA", "n": number(256), "e": "AQAB"})
    }

    fn found(set: &KeySet, id: Option<&str>, algorithm: Algorithm) -> usize {
        set.find(id, algorithm).map_or(0, |found| found.keys.len())
    }

    #[test]
    fn a_key_is_found_by_its_id_and_only_for_its_own_algorithm() {
        let keys = set(&[
            with(&ec("P-256", 32), json!({"kid": "ec"})),
            with(&rsa(), json!({"kid": "rsa", "alg": "RS256", "use": "sig"})),
        ]);
        let found = |id, algorithm| found(&keys, id, algorithm) == 1;
        assert!(found(Some("ec"), Algorithm::ES256) && found(Some("rsa"), Algorithm::RS256));
        assert!(!found(Some("rsa"), Algorithm::PS256), "its `alg` says otherwise");
        assert!(!found(Some("ec"), Algorithm::RS256) && !found(Some("rsa"), Algorithm::ES256));
        assert!(!found(Some("ec"), Algorithm::HS256), "a public key is no secret");
        assert!(!found(Some("other"), Algorithm::ES256));
        assert!(found(None, Algorithm::ES256), "the only one that fits");
        assert!(keys.left_out().is_empty());
    }

    #[test]
    fn without_an_alg_type_and_curve_say_what_a_key_is_for() {
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": number(32)});
        let keys = set(&[ec("P-256", 32), ec("P-384", 48), rsa(), ed]);
        for algorithm in [
            Algorithm::ES256,
            Algorithm::ES384,
            Algorithm::EdDSA,
            Algorithm::RS256,
            Algorithm::RS512,
            Algorithm::PS384,
        ] {
            assert_eq!(found(&keys, None, algorithm), 1, "{algorithm:?}");
            let kidless = keys.find(Some("k"), algorithm).unwrap();
            assert_eq!((kidless.keys.len(), kidless.are_named), (1, false), "{algorithm:?}");
        }
        let two = |id: &str, size, curve| with(&ec(curve, size), json!({"kid": id}));
        let same = set(&[two("k", 32, "P-256"), two("k", 48, "P-384"), two("l", 32, "P-256")]);
        assert_eq!(found(&same, Some("k"), Algorithm::ES384), 1);
        assert_eq!(found(&same, Some("k"), Algorithm::ES256), 1);
        assert_eq!(found(&same, None, Algorithm::ES256), 2, "both are tried");
        let many = set(&vec![ec("P-256", 32); 100]);
        assert_eq!(found(&many, None, Algorithm::ES256), MOST_TRIES);
    }

    #[test]
    fn both_names_of_eddsa_are_one() {
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": number(32), "kid": "k"});
        for alg in [json!("Ed25519"), json!("EdDSA"), json!(null)] {
            let keys = set(&[with(&ed, json!({"alg": alg}))]);
            assert_eq!(found(&keys, Some("k"), Algorithm::EdDSA), 1, "{alg}");
        }
    }

    #[test]
    fn numbers_in_any_base64_are_read_and_doubtful_ones_left_out() {
        let bytes = URL_SAFE_NO_PAD.decode(number(32)).unwrap();
        let short = [&[0, 0], &bytes[2..]].concat();
        for x in [
            URL_SAFE.encode(&bytes),
            STANDARD.encode(&bytes),
            STANDARD.encode(&bytes).trim_end_matches('=').to_owned(),
            URL_SAFE_NO_PAD.encode([&[0], bytes.as_slice()].concat()),
            URL_SAFE_NO_PAD.encode(&short[2..]),
        ] {
            let keys = set(&[with(&ec("P-256", 32), json!({"x": x, "kid": "k"}))]);
            assert_eq!(found(&keys, Some("k"), Algorithm::ES256), 1, "{x}");
        }
        let padded = URL_SAFE
            .encode([&[0], URL_SAFE_NO_PAD.decode(number(256)).unwrap().as_slice()].concat());
        let keys = set(&[with(&rsa(), json!({"n": padded, "e": "AAEAAQ=="}))]);
        assert_eq!(found(&keys, None, Algorithm::RS256), 1);
        for (x, problem) in [
            ("_-8/", "its `x` is no Base64url"),
            ("AAAA AAAA", "its `x` is no Base64url"),
            ("AAAA=", "its `x` is no Base64url"),
            ("AB", "its `x` is no Base64url"),
            ("AAAA", "its `x` has 3 bytes instead of 32"),
            (number(33).as_str(), "its `x` has 33 bytes instead of 32"),
        ] {
            let keys = set(&[with(&ec("P-256", 32), json!({"x": x, "kid": "k\n"}))]);
            assert_eq!(keys.left_out(), [format!("key \"k\\n\": {problem}")], "{x}");
            assert_eq!(found(&keys, None, Algorithm::ES256), 0);
        }
    }

    #[test]
    fn keys_that_cannot_be_used_are_named_with_the_way_out() {
        for (key, parts) in [
            (ec("P-521", 66), ["P-521", "ES256 (P-256)"]),
            (with(&ec("P-521", 66), json!({"alg": "ES512"})), ["P-521", "have the issuer"]),
            (ec("secp256k1", 32), ["secp256k1", "have the issuer"]),
            (json!({"kty": "OKP", "crv": "Ed448", "x": number(57)}), ["Ed448", "Ed25519"]),
            (with(&rsa(), json!({"n": number(128)})), ["1024 bits", "2048 to 8192"]),
            (with(&ec("P-256", 32), json!({"alg": "ES384"})), ["`alg`", "curve"]),
            (with(&ec("P-256", 32), json!({"x": null})), ["no `x`", ""]),
            (with(&ec("P-256", 32), json!({"crv": null})), ["no `crv`", ""]),
        ] {
            let keys = set(&[with(&key, json!({"kid": "k"})), key.clone()]);
            assert!(keys.known.is_empty(), "{key}");
            let [named, unnamed] = keys.left_out() else { panic!("{keys:?}") };
            assert!(named.starts_with("key \"k\": "), "{named}");
            assert!(unnamed.starts_with("key 2, without a `kid`: "), "{unnamed}");
            assert!(parts.iter().all(|part| named.contains(part)), "{named}");
        }
    }

    #[test]
    fn keys_for_something_else_are_left_out_without_a_word() {
        let keys = set(&[
            with(&ec("P-256", 32), json!({"kid": "good"})),
            with(&ec("P-256", 32), json!({"kid": "verifies", "key_ops": ["verify"]})),
            with(&rsa(), json!({"kid": "encrypts", "use": "enc"})),
            with(&rsa(), json!({"kid": "wraps", "key_ops": ["wrapKey"]})),
            with(&rsa(), json!({"kid": "oaep", "alg": "RSA-OAEP"})),
            json!({"kty": "oct", "k": "c2VjcmV0", "kid": "secret"}),
            json!({"kty": "OKP", "crv": "X25519", "x": number(32)}),
            json!({"kty": "quantum", "kid": "new"}),
            json!(7),
        ]);
        assert_eq!((keys.known.len(), keys.left_out().len()), (2, 0));
        let secret = set(&[json!({"kty": "oct", "k": "c2VjcmV0"})]);
        assert!(secret.known.is_empty() && set(&[]).known.is_empty());
        assert!(KeySet::parse(b"<html>").is_err());
    }
}

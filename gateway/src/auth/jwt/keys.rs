//! A set of keys (RFC 7517), as an issuer publishes it.

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

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
pub(super) struct KeySet(Vec<Known>);

#[derive(Debug)]
struct Known {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    key: DecodingKey,
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
        let known = document.keys.into_iter().filter_map(|key| {
            let key: Jwk = serde_json::from_value(key).ok()?;
            known(&key)
        });
        // None at all is an answer, too: that of an issuer whose keys were stolen.
        Ok(Self(known.collect()))
    }

    /// The key that a token names; the only one that fits, if it names none.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let fits = |known: &&Known| {
            known.algorithm.is_none_or(|of_key| of_key == algorithm)
                && known.key.family().algorithms().contains(&algorithm)
                && id.is_none_or(|id| known.id.as_deref() == Some(id))
        };
        let mut fitting = self.0.iter().filter(fits);
        let first = fitting.next()?;
        (id.is_some() || fitting.next().is_none()).then_some(&first.key)
    }
}

fn known(key: &Jwk) -> Option<Known> {
    let for_signatures =
        key.common.public_key_use.as_ref().is_none_or(|use_| *use_ == PublicKeyUse::Signature);
    let is_public = !matches!(key.algorithm, AlgorithmParameters::OctetKey(_));
    if !for_signatures || !is_public {
        return None;
    }
    let algorithm = match key.common.key_algorithm {
        Some(name) => Some(name.to_string().parse().ok()?),
        None => None,
    };
    let decoding = DecodingKey::from_jwk(key).ok()?;
    (decoding.family() != AlgorithmFamily::Hmac).then(|| Known {
        id: key.common.key_id.clone(),
        algorithm,
        key: decoding,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EC: &str = r#""kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA""#;
    const RSA: &str = r#""kty":"RSA","n":"AAAA","e":"AQAB""#;

    fn set(keys: &[String]) -> Result<KeySet, String> {
        KeySet::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes())
    }

    #[test]
    fn a_key_is_found_by_its_id_and_only_for_its_own_algorithm() {
        let keys = set(&[
            format!(r#"{{{EC},"kid":"ec"}}"#),
            format!(r#"{{{RSA},"kid":"rsa","alg":"RS256","use":"sig"}}"#),
        ])
        .unwrap();
        let found = |id, algorithm| keys.find(id, algorithm).is_some();
        assert!(found(Some("ec"), Algorithm::ES256) && found(Some("rsa"), Algorithm::RS256));
        assert!(!found(Some("rsa"), Algorithm::PS256), "its `alg` says otherwise");
        assert!(!found(Some("ec"), Algorithm::RS256) && !found(Some("rsa"), Algorithm::ES256));
        assert!(!found(Some("ec"), Algorithm::HS256), "a public key is no secret");
        assert!(!found(Some("other"), Algorithm::ES256));
        assert!(found(None, Algorithm::ES256), "the only one that fits");
    }

    #[test]
    fn without_an_id_there_must_be_one_only() {
        let keys =
            set(&[format!(r#"{{{EC},"kid":"a"}}"#), format!(r#"{{{EC},"kid":"b"}}"#)]).unwrap();
        assert!(keys.find(None, Algorithm::ES256).is_none());
    }

    #[test]
    fn what_cannot_be_used_is_left_out() {
        let keys = set(&[
            format!(r#"{{{EC},"kid":"good"}}"#),
            format!(r#"{{{RSA},"kid":"encrypts","use":"enc"}}"#),
            r#"{"kty":"oct","k":"c2VjcmV0","kid":"secret"}"#.to_owned(),
            r#"{"kty":"quantum","kid":"new"}"#.to_owned(),
            "7".to_owned(),
        ])
        .unwrap();
        assert_eq!(keys.0.len(), 1);
        let secret = set(&[r#"{"kty":"oct","k":"c2VjcmV0"}"#.to_owned()]).unwrap();
        assert!(secret.0.is_empty() && set(&[]).unwrap().0.is_empty());
        assert!(KeySet::parse(b"<html>").is_err());
    }
}

//! One key of a set (RFC 7517, RFC 7518 6).

use super::algorithms::{WAY_OUT, algorithm};
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// The sizes of RSA keys that `ring` takes, in bits.
const RSA_BITS: RangeInclusive<usize> = 2_048..=8_192;

/// With padding or without: issuers publish both.
const BASE64: GeneralPurpose = {
    let padding = DecodePaddingMode::Indifferent;
    GeneralPurpose::new(&URL_SAFE, GeneralPurposeConfig::new().with_decode_padding_mode(padding))
};

/// A key that tokens can be checked with.
#[derive(Debug)]
pub(super) struct Known {
    /// Its `kid`.
    pub(super) id: Option<String>,
    /// What it may be used with: its `alg`, or what goes with its type and curve.
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

/// Reads a key. `None` is one of a kind that is for something else: for encryption, a secret,
/// or of a type that is not known here. Fails with what is wrong, when tokens may be signed
/// with it.
pub(super) fn read(jwk: &Map<String, Value>) -> Result<Option<Known>, String> {
    if !is_for_signatures(jwk) {
        return Ok(None);
    }
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let (key, fitting) = match (text("kty"), text("crv")) {
        (Some("RSA"), _) => (rsa(jwk)?, AlgorithmFamily::Rsa.algorithms()),
        (Some("EC"), Some("P-256")) => (ec(jwk, 32)?, &[Algorithm::ES256] as &[_]),
        (Some("EC"), Some("P-384")) => (ec(jwk, 48)?, &[Algorithm::ES384] as &[_]),
        (Some("OKP"), Some("Ed25519")) => {
            let key = DecodingKey::from_ed_der(&sized(jwk, "x", 32)?);
            (key, AlgorithmFamily::Ed.algorithms())
        }
        (Some("OKP"), Some("X25519" | "X448")) => return Ok(None),
        (Some("EC" | "OKP"), Some(curve)) => {
            let curve: String = curve.chars().take(32).collect();
            return Err(format!("its curve {curve} is not supported: {WAY_OUT}"));
        }
        (Some("EC" | "OKP"), None) => return Err("it has no `crv`".to_owned()),
        _ => return Ok(None),
    };
    let algorithms = match text("alg") {
        None => fitting.to_vec(),
        Some(name) => match algorithm(name) {
            Some(named) if fitting.contains(&named) => vec![named],
            Some(_) => return Err("its `alg` does not go with its type and curve".to_owned()),
            // One of encryption, which needs no `use`.
            None => return Ok(None),
        },
    };
    let id = match jwk.get("kid") {
        None => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(_) => return Err("its `kid` is no text".to_owned()),
    };
    Ok(Some(Known { id, algorithms, key }))
}

fn is_for_signatures(jwk: &Map<String, Value>) -> bool {
    let by_use = jwk.get("use").is_none_or(|use_| use_ == "sig");
    let operations = jwk.get("key_ops").and_then(Value::as_array);
    let by_operations = operations.is_none_or(|all| {
        all.is_empty() || all.iter().any(|operation| operation == "verify" || operation == "sign")
    });
    by_use && by_operations
}

fn rsa(jwk: &Map<String, Value>) -> Result<DecodingKey, String> {
    let (n, e) = (member(jwk, "n")?, member(jwk, "e")?);
    // Some issuers publish them with zeros before.
    let (n, e) = (significant(&n), significant(&e));
    let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        let (least, most) = RSA_BITS.into_inner();
        return Err(format!("it is an RSA key of {bits} bits, and {least} to {most} are taken"));
    }
    if e.is_empty() {
        return Err("its `e` is zero".to_owned());
    }
    Ok(DecodingKey::from_rsa_raw_components(n, e))
}

fn ec(jwk: &Map<String, Value>, size: usize) -> Result<DecodingKey, String> {
    let (x, y) = (sized(jwk, "x", size)?, sized(jwk, "y", size)?);
    Ok(DecodingKey::from_ec_der(&[&[4], x.as_slice(), &y].concat()))
}

/// A number of so many bytes: zeros before it may be missing, or be too many.
fn sized(jwk: &Map<String, Value>, name: &str, size: usize) -> Result<Vec<u8>, String> {
    let bytes = member(jwk, name)?;
    if bytes.len() == size {
        return Ok(bytes);
    }
    let is_number = jwk.get("kty").is_some_and(|kty| kty == "EC");
    let digits = significant(&bytes);
    if !is_number || digits.len() > size || digits.is_empty() {
        return Err(format!("its `{name}` has {} bytes instead of {size}", bytes.len()));
    }
    Ok([vec![0; size - digits.len()].as_slice(), digits].concat())
}

fn significant(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..]
}

/// The bytes of a member: Base64url as the RFC wants it, or what can be meant by nothing else,
/// with padding or in the standard alphabet.
fn member(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    let text = jwk.get(name).and_then(Value::as_str).ok_or(format!("it has no `{name}`"))?;
    let (standard, url_safe) = (text.contains(['+', '/']), text.contains(['-', '_']));
    let text = text.replace('+', "-").replace('/', "_");
    let bytes = BASE64.decode(text).ok().filter(|_| !(standard && url_safe));
    bytes.ok_or(format!("its `{name}` is no Base64url"))
}

//! The header of a token (RFC 7515): which key to try, and whether there is more in the token
//! than is known here.

use super::super::refusal::{self, Refused};
use super::algorithms::{WAY_OUT, algorithm, missing};
use super::not_a_token;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

/// The types that a token of access may say to be (RFC 7519 5.1, RFC 9068, and SPIFFE's), in
/// any case.
const TYPES: [&str; 3] = ["jwt", "at+jwt", "jose"];

/// What is needed of a header.
#[derive(Debug)]
pub(super) struct Head {
    /// What the token is signed with, as it says.
    pub(super) algorithm: Algorithm,
    /// The name of the key.
    pub(super) kid: Option<String>,
}

impl Head {
    /// Reads the JSON of a header.
    pub(super) fn read(json: &[u8]) -> Result<Self, Refused> {
        let header: Map<String, Value> = serde_json::from_slice(json).map_err(|_| not_a_token())?;
        if header.contains_key("crit") {
            return Err(refusal::invalid("the token has critical extensions"));
        }
        if header.get("b64").is_some_and(|b64| *b64 != Value::Bool(true)) {
            return Err(refusal::invalid("the token's claims are not encoded (`b64`)"));
        }
        if !header.get("typ").is_none_or(is_of_access) {
            return Err(refusal::invalid("the token is of another type (`typ`)"));
        }
        let name = header.get("alg").and_then(Value::as_str).ok_or_else(not_a_token)?;
        let algorithm = algorithm(name).ok_or_else(|| match missing(name) {
            Some(name) => refusal::invalid(&format!(
                "the token is signed with {name}, which cannot be checked here: {WAY_OUT}"
            )),
            None => refusal::invalid("the token is signed with another algorithm"),
        })?;
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err(refusal::invalid("the token's `kid` is no text")),
        };
        Ok(Self { algorithm, kid })
    }
}

fn is_of_access(typ: &Value) -> bool {
    let Some(typ) = typ.as_str().map(str::to_ascii_lowercase) else { return false };
    TYPES.contains(&typ.strip_prefix("application/").unwrap_or(&typ))
}

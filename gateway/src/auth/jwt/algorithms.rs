//! The names of algorithms (RFC 7518, RFC 8037, RFC 9864).

use jsonwebtoken::{Algorithm, AlgorithmFamily};

/// What an issuer of tokens can do whose keys or algorithms cannot be used here.
pub(crate) const WAY_OUT: &str =
    "have the issuer sign with ES256 (P-256), ES384 (P-384), EdDSA (Ed25519) or RS256";

/// Algorithms that issuers use and `ring` does not know.
const MISSING: [&str; 6] = ["ES512", "ES256K", "Ed448", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"];

/// The algorithm of public keys that has this name. `Ed25519` is the one of the two that
/// `EdDSA` names which is known here.
pub(crate) fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "Ed25519" => Some(Algorithm::EdDSA),
        name => name.parse().ok().filter(|name: &Algorithm| name.family() != AlgorithmFamily::Hmac),
    }
}

/// The name of an algorithm that issuers use and that is not known here.
pub(crate) fn missing(name: &str) -> Option<&'static str> {
    MISSING.into_iter().find(|missing| *missing == name)
}

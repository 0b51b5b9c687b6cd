//! Signatures by the Standard Webhooks specification.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::Ed25519KeyPair;
use std::sync::Arc;

/// The keys that sign callbacks: every one signs each of them, so that receivers may
/// change keys when they like.
#[derive(Clone)]
pub struct SigningKeys(Arc<Vec<Key>>);

enum Key {
    /// `v1`: a secret that both sides have.
    Symmetric(hmac::Key),
    /// `v1a`: receivers have only the public key.
    Asymmetric(Ed25519KeyPair),
}

/// What is wrong with a signing key. It never contains key material.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "key {0}: expected whsec_ and the Base64 of 24 to 64 bytes, or whsk_ and the Base64 of an \
     Ed25519 key of 32 bytes (or 64, with its public key)"
)]
pub struct SigningKeysError(usize);

impl SigningKeys {
    /// Reads `whsec_…` and `whsk_…` keys with commas between them.
    ///
    /// # Errors
    /// See [`SigningKeysError`].
    pub fn parse(text: &str) -> Result<Self, SigningKeysError> {
        let keys = text.split(',').map(str::trim).enumerate();
        let keys: Result<Vec<Key>, _> =
            keys.map(|(index, text)| key(text).ok_or(SigningKeysError(index + 1))).collect();
        Ok(Self(Arc::new(keys?)))
    }

    /// The value of the header `webhook-signature`.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let content = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
        let sign = |key: &Key| match key {
            Key::Symmetric(key) => format!("v1,{}", STANDARD.encode(hmac::sign(key, &content))),
            Key::Asymmetric(key) => format!("v1a,{}", STANDARD.encode(key.sign(&content))),
        };
        self.0.iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

fn key(text: &str) -> Option<Key> {
    if let Some(secret) = text.strip_prefix("whsec_") {
        let secret = STANDARD.decode(secret).ok().filter(|s| (24..=64).contains(&s.len()))?;
        return Some(Key::Symmetric(hmac::Key::new(hmac::HMAC_SHA256, &secret)));
    }
    let secret = STANDARD.decode(text.strip_prefix("whsk_")?).ok()?;
    let pair = match secret.len() {
        32 => Ed25519KeyPair::from_seed_unchecked(&secret),
        64 => Ed25519KeyPair::from_seed_and_public_key(&secret[..32], &secret[32..]),
        _ => return None,
    };
    pair.ok().map(Key::Asymmetric)
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKeys {{ {} keys, secrets: redacted }}", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ED25519, KeyPair, UnparsedPublicKey};

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_vector_of_the_reference_library() {
        let keys = SigningKeys::parse(SECRET).unwrap();
        let signature =
            keys.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b"{\"test\": 2432232314}");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_key_signs() {
        let seed = STANDARD.encode([7; 32]);
        let keys = SigningKeys::parse(&format!("{SECRET}, whsk_{seed}")).unwrap();
        let signatures = keys.sign("id", 5, b"body");
        let (first, second) = signatures.split_once(' ').unwrap();
        assert!(first.starts_with("v1,"));
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let signature = STANDARD.decode(second.strip_prefix("v1a,").unwrap()).unwrap();
        let public = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref().to_vec());
        assert!(public.verify(b"id.5.body", &signature).is_ok());
        assert!(public.verify(b"id.6.body", &signature).is_err());
    }

    #[test]
    fn wrong_keys_are_named_by_their_place_alone() {
        for (text, place) in [
            ("", 1),
            ("whsec_c2hvcnQ=", 1),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 1),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw,whsk_AAAA", 2),
        ] {
            assert_eq!(SigningKeys::parse(text).unwrap_err(), SigningKeysError(place), "{text}");
        }
        assert!(!format!("{:?}", SigningKeys::parse(SECRET).unwrap()).contains("MfK"));
    }
}

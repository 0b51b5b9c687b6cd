//! Signing keys with rotation.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Length of the message authentication codes on the wire: HMAC-SHA256 cut to
/// 128 bits, as RFC 2104 allows.
pub const MAC_LEN: usize = 16;

const MIN_SECRET_LEN: usize = 16;

/// Keys that verify, the first of which signs. To rotate: put the new key last
/// everywhere, then first everywhere, then drop the old one once everything that
/// it signed is gone.
#[derive(Clone)]
pub struct Keyring {
    keys: Vec<(u8, Hmac<Sha256>)>,
}

/// Why a keyring cannot be made. It never contains key material.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyringError {
    /// There is no key.
    #[error("no key is given")]
    Empty,
    /// An entry is not `id:base64`.
    #[error("key {0}: expected `id:base64` with an id from 0 to 255")]
    Malformed(usize),
    /// A secret is too short to be safe.
    #[error("key {0}: the secret has fewer than {MIN_SECRET_LEN} bytes")]
    TooShort(usize),
    /// Two keys share an id.
    #[error("key {0}: its id is used twice")]
    DuplicateId(usize),
}

impl Keyring {
    /// Reads `id:base64[,id:base64…]`; the first key signs.
    ///
    /// # Errors
    /// See [`KeyringError`].
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let mut keys = Vec::new();
        for (index, entry) in text.split(',').map(str::trim).filter(|e| !e.is_empty()).enumerate() {
            let position = index + 1;
            let malformed = KeyringError::Malformed(position);
            let Some((id, secret)) = entry.split_once(':') else { return Err(malformed) };
            let (Ok(id), Ok(secret)) = (id.parse::<u8>(), STANDARD.decode(secret)) else {
                return Err(malformed);
            };
            if secret.len() < MIN_SECRET_LEN {
                return Err(KeyringError::TooShort(position));
            }
            if keys.iter().any(|(known, _)| *known == id) {
                return Err(KeyringError::DuplicateId(position));
            }
            keys.push((id, keyed(&secret)));
        }
        if keys.is_empty() { Err(KeyringError::Empty) } else { Ok(Self { keys }) }
    }

    /// A keyring with one key, for processes that share it in memory.
    #[must_use]
    pub fn single(secret: &[u8; 32]) -> Self {
        Self { keys: vec![(1, keyed(secret))] }
    }

    /// The id of the key that signs.
    #[must_use]
    pub fn signing_id(&self) -> u8 {
        self.keys[0].0
    }

    /// Whether there is a key of this id. A peer may have been given a new key
    /// before this process was.
    #[must_use]
    pub fn knows(&self, key_id: u32) -> bool {
        self.keys.iter().any(|(id, _)| u32::from(*id) == key_id)
    }

    /// Whether any secret is in both keyrings, under whatever id.
    #[must_use]
    pub fn shares_a_secret_with(&self, other: &Self) -> bool {
        let print = |(_, key): &(u8, Hmac<Sha256>)| key.clone().finalize().into_bytes();
        let ours: Vec<_> = self.keys.iter().map(print).collect();
        other.keys.iter().map(print).any(|print| ours.contains(&print))
    }

    /// Signs the concatenation of `parts` with the first key.
    #[must_use]
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; MAC_LEN] {
        signature(&self.keys[0].1, parts)
    }

    /// Signs with the key `key_id`, if there is one: for what belongs to something that
    /// this key has signed.
    #[must_use]
    pub fn sign_with(&self, key_id: u8, parts: &[&[u8]]) -> Option<[u8; MAC_LEN]> {
        let (_, key) = self.keys.iter().find(|(id, _)| *id == key_id)?;
        Some(signature(key, parts))
    }

    /// Whether the key `key_id` made `tag` over the concatenation of `parts`.
    /// The comparison takes the same time wherever the first difference is.
    #[must_use]
    pub fn verify(&self, key_id: u32, parts: &[&[u8]], tag: &[u8]) -> bool {
        if tag.len() != MAC_LEN {
            return false;
        }
        let Some((_, key)) = self.keys.iter().find(|(id, _)| u32::from(*id) == key_id) else {
            return false;
        };
        let mut mac = key.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac.verify_truncated_left(tag).is_ok()
    }
}

fn signature(key: &Hmac<Sha256>, parts: &[&[u8]]) -> [u8; MAC_LEN] {
    let mut mac = key.clone();
    parts.iter().for_each(|part| mac.update(part));
    let full = mac.finalize().into_bytes();
    let mut cut = [0; MAC_LEN];
    cut.copy_from_slice(&full[..MAC_LEN]);
    cut
}

fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"))
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<u8> = self.keys.iter().map(|(id, _)| *id).collect();
        write!(f, "Keyring {{ ids: {ids:?}, secrets: redacted }}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "1:MDEyMzQ1Njc4OWFiY2RlZg==";
    const B: &str = "2:ZmVkY2JhOTg3NjU0MzIxMA==";

    #[test]
    fn rotation_verifies_with_any_key_and_signs_with_the_first() {
        let old = Keyring::parse(A).unwrap();
        let both = Keyring::parse(&format!("{B},{A}")).unwrap();
        let by_old = old.sign(&[b"x"]);
        assert!(both.verify(1, &[b"x"], &by_old));
        assert_eq!(both.signing_id(), 2);
        let by_new = both.sign(&[b"x"]);
        assert!(both.verify(2, &[b"x"], &by_new));
        assert!(!old.verify(2, &[b"x"], &by_new));
        assert!(!both.verify(2, &[b"y"], &by_new));
        assert!(!both.verify(2, &[b"x"], &by_new[..8]));
    }

    #[test]
    fn a_secret_in_two_keyrings_is_noticed_under_any_id() {
        let ring = |text: &str| Keyring::parse(text).unwrap();
        let same = A.replace("1:", "7:");
        assert!(ring(A).shares_a_secret_with(&ring(&format!("{B},{same}"))));
        assert!(!ring(A).shares_a_secret_with(&ring(B)));
    }

    #[test]
    fn mistakes_are_named_without_showing_the_secret() {
        assert_eq!(Keyring::parse(" ").unwrap_err(), KeyringError::Empty);
        assert_eq!(Keyring::parse("zzz").unwrap_err(), KeyringError::Malformed(1));
        assert_eq!(Keyring::parse(&format!("{A},3:AAAA")).unwrap_err(), KeyringError::TooShort(2));
        assert_eq!(Keyring::parse(&format!("{A},{A}")).unwrap_err(), KeyringError::DuplicateId(2));
        assert!(!format!("{:?}", Keyring::parse(A).unwrap()).contains("MDEy"));
    }
}

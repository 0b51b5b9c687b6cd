//! Encryption of what travels and rests, for those who do not want queues, tables and
//! buckets to see it: AES-256-GCM under keys that are derived from a data key.
//!
//! Each thing is encrypted under a key of its own, derived with a random salt, so that one
//! data key can be shared by many processes without counting nonces. What it is and where
//! it belongs is associated data: a ciphertext that is put elsewhere is not opened. Large
//! things are cut into segments whose nonces count them and mark the last (the STREAM
//! construction): what is cut short, reordered or repeated is not opened either.
//!
//! Where data keys come from is not known here.

use crate::v1::{Encrypted, WrappedKey};
use bytes::{Bytes, BytesMut};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt as HkdfSalt};
use zeroize::Zeroizing;

/// The length of a data key in bytes.
pub const KEY_LEN: usize = 32;
/// The length of a salt in bytes.
pub const SALT_LEN: usize = 32;
/// The bytes that a segment of something large has, but for the last.
pub const SEGMENT: usize = 64 * 1024;
/// What a segment becomes longer by.
pub const TAG_LEN: usize = 16;

const INFO: &[u8] = b"queuebridge encryption 1";

/// A key in hand. It is wiped from memory when it is dropped.
pub type Secret = Zeroizing<[u8; KEY_LEN]>;

/// Fresh random bytes: two things under the same salt and data key would share a key.
pub type Salt = [u8; SALT_LEN];

/// What is not under this key, or belongs elsewhere, or was altered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what was encrypted is not authentic")]
pub struct NotAuthentic;

/// A data key, with its wrapped form, which travels with everything under it. The secret
/// is wiped from memory with it, and its `Debug` form does not show it.
#[derive(Clone)]
pub struct DataKey {
    wrapped: WrappedKey,
    secret: Secret,
}

impl DataKey {
    /// The key whose wrapped form is `wrapped`.
    #[must_use]
    pub fn new(wrapped: WrappedKey, secret: Secret) -> Self {
        Self { wrapped, secret }
    }

    /// Its wrapped form.
    #[must_use]
    pub fn wrapped(&self) -> &WrappedKey {
        &self.wrapped
    }

    /// Encrypts what fits into a message.
    #[must_use]
    pub fn seal(&self, salt: Salt, context: &Context, plain: &[u8]) -> Encrypted {
        let mut out = BytesMut::with_capacity(plain.len() + TAG_LEN);
        self.segments(&salt, context).seal(0, true, plain, &mut out);
        Encrypted {
            key: Some(self.wrapped.clone()),
            salt: Bytes::copy_from_slice(&salt),
            ciphertext: out.freeze(),
        }
    }

    /// Decrypts what [`DataKey::seal`] has made in the same context.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn open(&self, context: &Context, sealed: &Encrypted) -> Result<Bytes, NotAuthentic> {
        let salt: &Salt = sealed.salt[..].try_into().map_err(|_| NotAuthentic)?;
        let mut bytes = BytesMut::from(&sealed.ciphertext[..]);
        self.segments(salt, context).open(0, true, &mut bytes)?;
        Ok(bytes.freeze())
    }

    /// The segments of something large.
    #[must_use]
    pub fn segments(&self, salt: &Salt, context: &Context) -> Segments {
        let derived = HkdfSalt::new(HKDF_SHA256, salt).extract(&*self.secret);
        let key: UnboundKey = derived
            .expand(&[INFO], &AES_256_GCM)
            .unwrap_or_else(|_| unreachable!("HKDF derives keys of this length"))
            .into();
        Segments { key: LessSafeKey::new(key), context: context.clone() }
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DataKey {{ under: {:?}, secret: redacted }}", self.wrapped.key_id)
    }
}

/// What something is and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context(Vec<u8>);

impl Context {
    /// `purpose` says what it is, `parts` where it belongs.
    #[must_use]
    pub fn new(purpose: &str, parts: &[&[u8]]) -> Self {
        let mut bytes = Vec::new();
        for part in [purpose.as_bytes()].iter().chain(parts) {
            bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        Self(bytes)
    }
}

/// The segments of one thing.
pub struct Segments {
    key: LessSafeKey,
    context: Context,
}

impl Segments {
    /// Encrypts segment `number` to the end of `out`; `last`: it is the last.
    pub fn seal(&self, number: u32, last: bool, plain: &[u8], out: &mut BytesMut) {
        let start = out.len();
        out.extend_from_slice(plain);
        let sealed = self.key.seal_in_place_separate_tag(
            nonce(number, last),
            Aad::from(&self.context.0),
            &mut out[start..],
        );
        // A segment is far shorter than the 64 GiB of AES-GCM.
        let tag = sealed.unwrap_or_else(|_| unreachable!("a segment can be encrypted"));
        out.extend_from_slice(tag.as_ref());
    }

    /// Decrypts segment `number` in place.
    ///
    /// # Errors
    /// When it is not this segment.
    pub fn open(&self, number: u32, last: bool, bytes: &mut BytesMut) -> Result<(), NotAuthentic> {
        let nonce = nonce(number, last);
        let opened = self.key.open_in_place(nonce, Aad::from(&self.context.0), bytes);
        let len = opened.map_err(|_| NotAuthentic)?.len();
        bytes.truncate(len);
        Ok(())
    }
}

fn nonce(number: u32, last: bool) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[7..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(last);
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> DataKey {
        let wrapped = WrappedKey { key_id: "local:a".into(), wrapped: Bytes::from_static(b"w") };
        DataKey::new(wrapped, Zeroizing::new([byte; KEY_LEN]))
    }

    fn job(id: &[u8]) -> Context {
        Context::new("outcome", &[id])
    }

    #[test]
    fn it_opens_with_its_key_in_its_place_and_nowhere_else() {
        let sealed = key(1).seal([3; 32], &job(b"a"), b"secret");
        assert_eq!(key(1).open(&job(b"a"), &sealed).unwrap(), b"secret"[..]);
        assert_eq!(key(2).open(&job(b"a"), &sealed), Err(NotAuthentic));
        assert_eq!(key(1).open(&job(b"b"), &sealed), Err(NotAuthentic));
        let other = Context::new("progress", &[b"a"]);
        assert_eq!(key(1).open(&other, &sealed), Err(NotAuthentic));
        for changed in [
            Encrypted { salt: Bytes::from_static(&[4; 32]), ..sealed.clone() },
            Encrypted { salt: Bytes::new(), ..sealed.clone() },
            Encrypted { ciphertext: sealed.ciphertext.slice(1..), ..sealed.clone() },
            Encrypted { ciphertext: Bytes::new(), ..sealed.clone() },
        ] {
            assert_eq!(key(1).open(&job(b"a"), &changed), Err(NotAuthentic));
        }
    }

    #[test]
    fn places_cannot_be_made_to_look_alike() {
        let one = Context::new("chunk", &[b"ab", b"c"]);
        assert_ne!(one, Context::new("chunk", &[b"a", b"bc"]));
        assert_ne!(one, Context::new("chunk", &[b"abc"]));
        assert_ne!(one, Context::new("chunka", &[b"b", b"c"]));
    }

    #[test]
    fn segments_keep_their_number_and_their_end() {
        let segments = key(1).segments(&[3; 32], &job(b"a"));
        let mut out = BytesMut::new();
        segments.seal(7, false, b"abc", &mut out);
        assert_eq!(out.len(), 3 + TAG_LEN);
        for (number, last) in [(6, false), (7, true), (8, false)] {
            assert_eq!(segments.open(number, last, &mut out.clone()), Err(NotAuthentic));
        }
        segments.open(7, false, &mut out).unwrap();
        assert_eq!(out, b"abc"[..]);
    }

    #[test]
    fn the_secret_is_not_shown() {
        assert_eq!(format!("{:?}", key(77)), "DataKey { under: \"local:a\", secret: redacted }");
    }
}

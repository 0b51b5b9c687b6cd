//! The envelope codec: a [`Call`], and whatever else travels, to the text of a queue
//! message and back.
//!
//! Opening has two steps, because the key of an encrypted message may have to be asked
//! for: [`authenticate`] checks the MAC, [`Authentic::read`] decrypts. So nothing that is
//! not authentic makes anybody ask for a key.

use crate::compression;
use crate::encryption::{Context, DataKey, Salt};
use crate::keys::Keyring;
use crate::v1::{Call, Encoding, Encrypted, Envelope, WrappedKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message;
use std::marker::PhantomData;

/// The major version that this code writes and reads.
pub const MAJOR: u32 = 1;
/// The minor version that this code reads, and writes where it encrypts; else it is 0.
pub const MINOR: u32 = 1;

/// What travels sealed.
pub trait Sealable: Message + Default {
    /// Kept apart under the MAC and in the encryption, so that one kind of message is
    /// never taken for another.
    const DOMAIN: &'static [u8];
}

impl Sealable for Call {
    const DOMAIN: &'static [u8] = b"queuebridge envelope\0";
}

/// The message attributes beside the body, for routing and people only: queues
/// encrypt just the body at rest, so nothing of the caller's stands there, and
/// nothing here is trusted.
pub mod attribute {
    /// [`super::MAJOR`].
    pub const VERSION: &str = "qb-version";
    /// The called method.
    pub const METHOD: &str = "qb-method";
    /// The job id.
    pub const JOB: &str = "qb-job";
    /// Only on topics: the names of the branches, as a JSON array. A subscription's
    /// filter policy names its own.
    pub const BRANCHES: &str = "qb-branches";
    /// Only in a parking queue: why the message was parked, in `UPPER_SNAKE`.
    pub const PARKED: &str = "qb-parked";
    /// Only on callbacks to queues and topics: the tenant of the job.
    pub const TENANT: &str = "qb-tenant";
    /// Only on callbacks to queues and topics: how the job ended, in `UPPER_SNAKE`.
    pub const STATE: &str = "qb-state";

    /// The data type of an attribute, in the words of SNS.
    #[must_use]
    pub fn data_type(name: &str) -> &'static str {
        if name == BRANCHES { "String.Array" } else { "String" }
    }
}

/// Why a body is not an envelope that may be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not Base64 of an envelope with a call in it.
    #[error("the body is not an envelope")]
    Undecodable,
    /// Written by a newer major version.
    #[error("the envelope has the unknown major version {0}")]
    UnknownVersion(u32),
    /// Its content is encoded in a way that this version cannot read.
    #[error("the envelope has the unknown encoding {0}")]
    UnknownEncoding(i32),
    /// Sealed with a key that is not known here.
    #[error("the envelope was sealed with the unknown key {0}")]
    UnknownKey(u32),
    /// The envelope key that it names did not make its MAC, or its data key did not
    /// encrypt it.
    #[error("the envelope is not authentic")]
    Unauthentic,
    /// It can be read by everybody, where that is not wanted.
    #[error("the envelope is not encrypted")]
    NotEncrypted,
}

impl EnvelopeError {
    /// Whether another worker, newer or with newer keys, may be able to open it.
    #[must_use]
    pub fn may_be_newer(&self) -> bool {
        matches!(self, Self::UnknownVersion(_) | Self::UnknownEncoding(_) | Self::UnknownKey(_))
    }
}

/// Seals a call into the body of a queue message.
#[must_use]
pub fn seal(call: &Call, keys: &Keyring) -> String {
    seal_with(call, keys, None)
}

/// Seals a message, encrypted if there is a data key.
#[must_use]
pub fn seal_with<M: Sealable>(
    message: &M,
    keys: &Keyring,
    encryption: Option<(&DataKey, Salt)>,
) -> String {
    let content = Bytes::from(message.encode_to_vec());
    // What is encrypted cannot be compressed any more.
    let (zstd, content) = match compression::compress(&content) {
        Some(compressed) => (true, compressed.into()),
        None => (false, content),
    };
    let (minor, encoding, content) = match encryption {
        Some((key, salt)) => {
            let sealed = key.seal(salt, &context(M::DOMAIN), &content);
            let encoding = if zstd { Encoding::EncryptedZstd } else { Encoding::Encrypted };
            (MINOR, encoding, sealed.encode_to_vec().into())
        }
        None => (0, if zstd { Encoding::Zstd } else { Encoding::Unspecified }, content),
    };
    let mac = keys.sign(&[M::DOMAIN, &header(MAJOR, encoding as i32), &content]);
    let envelope = Envelope {
        major: MAJOR,
        minor,
        encoding: encoding as i32,
        key_id: u32::from(keys.signing_id()),
        mac: Bytes::copy_from_slice(&mac),
        content,
    };
    STANDARD.encode(envelope.encode_to_vec())
}

/// The length of the body that [`seal`] makes, at most, of a call that takes
/// `encoded_len` bytes when serialized: a few bytes less, or much less if it can be
/// compressed.
#[must_use]
pub fn sealed_len(encoded_len: usize) -> usize {
    // Tags, lengths and the fixed fields around the content take under 48 bytes.
    (encoded_len + 48).div_ceil(3) * 4
}

/// Opens the body of a queue message that is not encrypted.
///
/// # Errors
/// See [`EnvelopeError`]. To this reader encryption is an unknown encoding.
pub fn open(body: &str, keys: &Keyring) -> Result<Call, EnvelopeError> {
    authenticate(body, keys)?.read(None)
}

/// A message that was sealed with a known key, and not read yet.
#[derive(Debug)]
pub struct Authentic<M> {
    encoding: Encoding,
    content: Bytes,
    encrypted: Option<Encrypted>,
    kind: PhantomData<M>,
}

/// Checks that the body of a message was sealed with one of the keys.
///
/// # Errors
/// See [`EnvelopeError`].
pub fn authenticate<M: Sealable>(
    body: &str,
    keys: &Keyring,
) -> Result<Authentic<M>, EnvelopeError> {
    let bytes = STANDARD.decode(body).map_err(|_| EnvelopeError::Undecodable)?;
    let envelope = Envelope::decode(Bytes::from(bytes)).map_err(|_| EnvelopeError::Undecodable)?;
    if envelope.major == 0 {
        return Err(EnvelopeError::Undecodable);
    }
    if envelope.major != MAJOR {
        return Err(EnvelopeError::UnknownVersion(envelope.major));
    }
    if !keys.knows(envelope.key_id) {
        return Err(EnvelopeError::UnknownKey(envelope.key_id));
    }
    let header = header(envelope.major, envelope.encoding);
    if !keys.verify(envelope.key_id, &[M::DOMAIN, &header, &envelope.content], &envelope.mac) {
        return Err(EnvelopeError::Unauthentic);
    }
    let encoding = Encoding::try_from(envelope.encoding)
        .map_err(|_| EnvelopeError::UnknownEncoding(envelope.encoding))?;
    let encrypted = match encoding {
        Encoding::Unspecified | Encoding::Zstd => None,
        Encoding::Encrypted | Encoding::EncryptedZstd => {
            let encrypted = Encrypted::decode(envelope.content.clone());
            Some(encrypted.map_err(|_| EnvelopeError::Undecodable)?)
        }
    };
    Ok(Authentic { encoding, content: envelope.content, encrypted, kind: PhantomData })
}

impl<M: Sealable> Authentic<M> {
    /// The data key that [`Authentic::read`] needs; none if it is not encrypted.
    #[must_use]
    pub fn data_key(&self) -> Option<&WrappedKey> {
        static NONE: WrappedKey = WrappedKey { key_id: String::new(), wrapped: Bytes::new() };
        self.encrypted.as_ref().map(|encrypted| encrypted.key.as_ref().unwrap_or(&NONE))
    }

    /// Reads the message.
    ///
    /// # Errors
    /// See [`EnvelopeError`]; without the key that it needs its encoding is unknown.
    pub fn read(self, key: Option<&DataKey>) -> Result<M, EnvelopeError> {
        let content = match (&self.encrypted, key) {
            (None, _) => self.content,
            (Some(encrypted), Some(key)) => {
                let opened = key.open(&context(M::DOMAIN), encrypted);
                opened.map_err(|_| EnvelopeError::Unauthentic)?
            }
            (Some(_), None) => return Err(EnvelopeError::UnknownEncoding(self.encoding as i32)),
        };
        let content = match self.encoding {
            Encoding::Unspecified | Encoding::Encrypted => content,
            // It is authentic: whoever made it can be trusted with memory, up to a point.
            Encoding::Zstd | Encoding::EncryptedZstd => {
                compression::decompress(&content).ok_or(EnvelopeError::Undecodable)?
            }
        };
        M::decode(content).map_err(|_| EnvelopeError::Undecodable)
    }
}

/// The job of a call is said in it, under the MAC: there is no other place to move it to.
fn context(domain: &[u8]) -> Context {
    Context::new("envelope", &[domain])
}

fn header(major: u32, encoding: i32) -> [u8; 8] {
    let mut header = [0; 8];
    header[..4].copy_from_slice(&major.to_be_bytes());
    header[4..].copy_from_slice(&encoding.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Metadatum, call::Payload, metadatum::Value};
    use proptest::prelude::*;

    fn keys() -> Keyring {
        Keyring::single(&[7; 32])
    }

    fn call(request: Vec<u8>) -> Call {
        Call {
            job_id: "id".into(),
            method: "/a.B/C".into(),
            payload: Some(Payload::Request(request.into())),
            metadata: vec![Metadatum {
                key: "k-bin".into(),
                value: Some(Value::Binary(Bytes::from_static(&[0, 255]))),
            }],
            ..Call::default()
        }
    }

    fn reseal(change: impl FnOnce(&mut Envelope)) -> String {
        let body = STANDARD.decode(seal(&call(vec![1]), &keys())).unwrap();
        let mut envelope = Envelope::decode(&body[..]).unwrap();
        change(&mut envelope);
        STANDARD.encode(envelope.encode_to_vec())
    }

    #[test]
    fn an_unknown_minor_version_is_read_and_an_unknown_major_is_not() {
        assert!(open(&reseal(|e| e.minor = 99), &keys()).is_ok());
        let newer = open(&reseal(|e| e.major = 2), &keys());
        assert_eq!(newer, Err(EnvelopeError::UnknownVersion(2)));
    }

    #[test]
    fn a_large_call_is_compressed_when_that_helps() {
        let text = call(b"0123456789".repeat(1000));
        let body = seal(&text, &keys());
        assert!(body.len() < 1000, "{}", body.len());
        assert_eq!(open(&body, &keys()), Ok(text));
        // Compressed or not is under the MAC.
        let mut envelope = Envelope::decode(&STANDARD.decode(&body).unwrap()[..]).unwrap();
        assert_eq!(envelope.encoding(), Encoding::Zstd);
        envelope.set_encoding(Encoding::Unspecified);
        let changed = STANDARD.encode(envelope.encode_to_vec());
        assert_eq!(open(&changed, &keys()), Err(EnvelopeError::Unauthentic));
    }

    #[test]
    fn what_was_not_sealed_with_our_key_is_not_opened() {
        let unauthentic = Err(EnvelopeError::Unauthentic);
        assert_eq!(open(&seal(&call(vec![1]), &Keyring::single(&[8; 32])), &keys()), unauthentic);
        assert_eq!(open(&reseal(|e| e.encoding = 1), &keys()), unauthentic);
        assert_eq!(open(&reseal(|e| e.key_id = 9), &keys()), Err(EnvelopeError::UnknownKey(9)));
        assert_eq!(open(&reseal(|e| e.mac = Bytes::new()), &keys()), unauthentic);
        assert_eq!(open("not base64!", &keys()), Err(EnvelopeError::Undecodable));
        assert_eq!(open("", &keys()), Err(EnvelopeError::Undecodable));
    }

    fn data_key(byte: u8) -> DataKey {
        let wrapped = WrappedKey { key_id: "k".into(), wrapped: Bytes::from_static(b"w") };
        DataKey::new(wrapped, [byte; 32].into())
    }

    #[test]
    fn an_encrypted_call_needs_its_data_key() {
        for request in [b"canary".to_vec(), b"canary".repeat(1000)] {
            let call = call(request);
            let body = seal_with(&call, &keys(), Some((&data_key(1), [3; 32])));
            let bytes = STANDARD.decode(&body).unwrap();
            assert!(!bytes.windows(6).any(|part| part == b"canary"));
            let authentic = || authenticate::<Call>(&body, &keys()).unwrap();
            assert_eq!(authentic().data_key(), Some(data_key(1).wrapped()));
            assert_eq!(authentic().read(Some(&data_key(1))), Ok(call));
            assert_eq!(authentic().read(Some(&data_key(2))), Err(EnvelopeError::Unauthentic));
            let unknown = open(&body, &keys()).unwrap_err();
            assert!(matches!(unknown, EnvelopeError::UnknownEncoding(2 | 3)), "{unknown}");
            assert!(unknown.may_be_newer());
            // The MAC comes first: a stranger's envelope makes nobody ask for its data key.
            let strange = authenticate::<Call>(&body, &Keyring::single(&[8; 32]));
            assert_eq!(strange.unwrap_err(), EnvelopeError::Unauthentic);
            assert!(body.len() < 1000, "compressed before");
        }
    }

    proptest! {
        #[test]
        fn any_request_comes_back_in_characters_that_sqs_takes(request in prop::collection::vec(any::<u8>(), 0..2000)) {
            let call = call(request);
            let body = seal(&call, &keys());
            prop_assert!(body.bytes().all(|c| c.is_ascii_graphic()));
            prop_assert!(body.len() <= sealed_len(call.encoded_len()));
            prop_assert_eq!(open(&body, &keys()), Ok(call));
        }

        #[test]
        fn any_body_is_answered_without_a_panic(body in "[A-Za-z0-9+/=]{0,200}") {
            prop_assert!(open(&body, &keys()).is_err());
        }
    }
}

//! Job ids: signed claims that this deployment accepted a job.
//!
//! A job id says when the job was accepted, until when it is wanted, how long
//! its result is kept, and for which tenant and method, so that an unknown id, a
//! pending job and an expired one are told apart without a record of the
//! submission.
//!
//! ```text
//! kind 1 | key id 1 | flags 1 | UUIDv7 16 | tenant tag 4 | method tag 4 |
//! work expiry, ms 6 | retention, s 4 | MAC 16      = 53 bytes, 71 characters
//! ```
//!
//! The tenant tag is a MAC as well, so that nobody can look for a tenant's name that
//! shares one. The kind says also how the rest is laid out. The id of a gather leads to the ids of
//! its branches, so that nobody has to store them.

use crate::keys::{Keyring, MAC_LEN};
use crate::method::tag;
use crate::time::UnixMillis;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::time::Duration;
use uuid::{Builder, Uuid};

/// The first byte: a job that a worker runs.
const SINGLE: u8 = 1;
/// The first byte: a job whose branches run.
const GATHER: u8 = 2;
const SIGNED_LEN: usize = 37;
/// How many bytes an id has.
pub(crate) const LEN: usize = SIGNED_LEN + MAC_LEN;
const TEXT_LEN: usize = 71;
const DOMAIN: &[u8] = b"queuebridge job id\0";
const TENANT_DOMAIN: &[u8] = b"queuebridge tenant\0";
const FLAG_AT_LEAST_ONCE: u8 = 1;
/// The other bits of the flags: the number of the reply shard and one, or zero.
const SHARD_SHIFT: u32 = 1;

/// How many reply shards a deployment may have.
pub const MAX_REPLY_SHARDS: usize = 127;

/// The parts of a job id. Whoever holds one has either minted it, verified it
/// with [`JobId::verify`], or taken it from an authenticated envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JobId {
    bytes: [u8; LEN],
}

/// What an id is minted for.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'a> {
    /// A fresh UUIDv7; its time is the submit time.
    pub uuid: Uuid,
    /// The authenticated tenant.
    pub tenant: &'a str,
    /// `/package.Service/Method`.
    pub method: &'a str,
    /// The work expiry.
    pub expires_at: UnixMillis,
    /// How long the result is kept, rounded up to whole seconds.
    pub retention: Duration,
    /// The guarantee is `at_least_once`: there is no claim and no Cancel.
    pub at_least_once: bool,
    /// The number of the reply shard on which its end is announced, if it is.
    pub reply_shard: Option<u8>,
}

/// Why a text is not an id of this deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobIdError {
    /// Not the shape of a job id.
    #[error("not a job id")]
    Malformed,
    /// Forged, of another deployment, or of another tenant: deliberately one
    /// answer, so that nothing can be learned from it.
    #[error("no such job")]
    Unknown,
}

impl JobId {
    /// Signs a new id.
    #[must_use]
    pub fn mint(claims: &Claims<'_>, keys: &Keyring) -> Self {
        Self::lay_out(SINGLE, claims, keys).signed(keys)
    }

    /// Signs a new id of a job with branches. Its work expiry is the deadline by which
    /// the gather is decided.
    #[must_use]
    pub fn mint_gather(claims: &Claims<'_>, keys: &Keyring) -> Self {
        Self::lay_out(GATHER, claims, keys).signed(keys)
    }

    /// The id of the branch number `index` of this gather, without a signature: for the
    /// stores, which know jobs by their UUIDs. What a branch has come to is kept for as
    /// long as the gather may still be undecided, and then for its retention.
    #[must_use]
    pub fn branch(&self, index: u32, method: &str, expires_at: UnixMillis) -> Self {
        let mut bytes = self.bytes;
        bytes[0] = SINGLE;
        bytes[2] &= FLAG_AT_LEAST_ONCE;
        // The time of the gather, then what only its own UUID and the number lead to.
        let hash =
            Sha256::new_with_prefix(self.uuid().as_bytes()).chain_update(index.to_be_bytes());
        let mut uuid = self.uuid().into_bytes();
        uuid[6..].copy_from_slice(&hash.finalize()[..10]);
        let uuid = Builder::from_custom_bytes(uuid).into_uuid();
        bytes[3..19].copy_from_slice(uuid.as_bytes());
        bytes[23..27].copy_from_slice(&tag(method));
        bytes[27..33].copy_from_slice(&expires_at.0.to_be_bytes()[2..]);
        let undecided = self.submitted_at().until(self.expires_at().max(expires_at));
        bytes[33..SIGNED_LEN].copy_from_slice(&ceil_secs(self.retention() + undecided));
        bytes[SIGNED_LEN..].fill(0);
        Self { bytes }
    }

    /// The same id under a signature of the key that it names: for branches, which
    /// have that of their gather. Once that key is given up, the signature is none.
    #[must_use]
    pub fn signed(mut self, keys: &Keyring) -> Self {
        let mac = keys.sign_with(self.bytes[1], &[DOMAIN, &self.bytes[..SIGNED_LEN]]);
        self.bytes[SIGNED_LEN..].copy_from_slice(&mac.unwrap_or_default());
        self
    }

    fn lay_out(kind: u8, claims: &Claims<'_>, keys: &Keyring) -> Self {
        let mut bytes = [0; LEN];
        bytes[0] = kind;
        bytes[1] = keys.signing_id();
        let shard = claims.reply_shard.filter(|n| usize::from(*n) < MAX_REPLY_SHARDS);
        bytes[2] = u8::from(claims.at_least_once) | shard.map_or(0, |n| (n + 1) << SHARD_SHIFT);
        bytes[3..19].copy_from_slice(claims.uuid.as_bytes());
        bytes[19..23].copy_from_slice(&tenant_tag(claims.tenant, keys.signing_id(), keys));
        bytes[23..27].copy_from_slice(&tag(claims.method));
        bytes[27..33].copy_from_slice(&claims.expires_at.0.to_be_bytes()[2..]);
        bytes[33..SIGNED_LEN].copy_from_slice(&ceil_secs(claims.retention));
        Self { bytes }
    }

    /// Reads an id from a place that is itself authenticated, such as an
    /// envelope: the signature is not checked.
    ///
    /// # Errors
    /// [`JobIdError::Malformed`].
    pub fn parse_trusted(text: &str) -> Result<Self, JobIdError> {
        let mut bytes = [0; LEN];
        if text.len() != TEXT_LEN {
            return Err(JobIdError::Malformed);
        }
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(LEN) => Self::from_bytes(bytes).ok_or(JobIdError::Malformed),
            _ => Err(JobIdError::Malformed),
        }
    }

    /// Reads an id that a caller sent and checks that this deployment signed it
    /// for this tenant.
    ///
    /// # Errors
    /// See [`JobIdError`].
    pub fn verify(text: &str, tenant: &str, keys: &Keyring) -> Result<Self, JobIdError> {
        let id = Self::parse_trusted(text)?;
        if id.is_authentic(tenant, keys) { Ok(id) } else { Err(JobIdError::Unknown) }
    }

    /// Whether this deployment signed it for this tenant.
    pub(crate) fn is_authentic(&self, tenant: &str, keys: &Keyring) -> bool {
        let signed = [DOMAIN, &self.bytes[..SIGNED_LEN]];
        let authentic = keys.verify(u32::from(self.bytes[1]), &signed, &self.bytes[SIGNED_LEN..]);
        // Both are evaluated: the time taken does not tell forged from foreign.
        authentic & (self.bytes[19..23] == tenant_tag(tenant, self.bytes[1], keys))
    }

    /// From its bytes, whose signature is checked elsewhere.
    pub(crate) fn from_bytes(bytes: [u8; LEN]) -> Option<Self> {
        matches!(bytes[0], SINGLE | GATHER).then_some(Self { bytes })
    }

    /// The id as its text encodes it.
    pub(crate) fn as_bytes(&self) -> &[u8; LEN] {
        &self.bytes
    }

    /// The UUIDv7 that names the job in the stores.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.bytes[3..19]);
        Uuid::from_bytes(bytes)
    }

    /// When the gateway accepted the job.
    #[must_use]
    pub fn submitted_at(&self) -> UnixMillis {
        UnixMillis(be(&self.bytes[3..9]))
    }

    /// The work expiry.
    #[must_use]
    pub fn expires_at(&self) -> UnixMillis {
        UnixMillis(be(&self.bytes[27..33]))
    }

    /// How long the result is kept after completion.
    #[must_use]
    pub fn retention(&self) -> Duration {
        Duration::from_secs(be(&self.bytes[33..SIGNED_LEN]))
    }

    /// Whether the job runs without a claim.
    #[must_use]
    pub fn at_least_once(&self) -> bool {
        self.bytes[2] & FLAG_AT_LEAST_ONCE != 0
    }

    /// Whether it is a job with branches.
    #[must_use]
    pub fn is_gather(&self) -> bool {
        self.bytes[0] == GATHER
    }

    /// The number of the reply shard on which the job's end is announced, if it is.
    #[must_use]
    pub fn reply_shard(&self) -> Option<u8> {
        (self.bytes[2] >> SHARD_SHIFT).checked_sub(1)
    }

    /// The hint for which method this is: compare with [`tag`].
    #[must_use]
    pub fn method_tag(&self) -> [u8; 4] {
        [self.bytes[23], self.bytes[24], self.bytes[25], self.bytes[26]]
    }
}

/// Made with the key that signs the id.
fn tenant_tag(tenant: &str, key_id: u8, keys: &Keyring) -> [u8; 4] {
    let mac = keys.sign_with(key_id, &[TENANT_DOMAIN, tenant.as_bytes()]).unwrap_or_default();
    [mac[0], mac[1], mac[2], mac[3]]
}

fn ceil_secs(time: Duration) -> [u8; 4] {
    let secs = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    u32::try_from(secs).unwrap_or(u32::MAX).to_be_bytes()
}

fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = [0; TEXT_LEN];
        let written = URL_SAFE_NO_PAD.encode_slice(self.bytes, &mut text).unwrap_or(0);
        f.write_str(std::str::from_utf8(&text[..written]).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(seed: u8) -> Keyring {
        Keyring::single(&[seed; 32])
    }

    fn claims(at_least_once: bool) -> Claims<'static> {
        Claims {
            uuid: Uuid::parse_str("018bcfe5-6800-7000-8000-0102030405ff").unwrap(),
            tenant: "default",
            method: "/a.B/C",
            expires_at: UnixMillis(1_700_000_600_123),
            retention: Duration::from_millis(3_600_001),
            at_least_once,
            reply_shard: None,
        }
    }

    #[test]
    fn the_reply_shard_and_the_guarantee_share_a_byte() {
        for (at_least_once, shard) in [(false, Some(0)), (true, Some(126)), (true, None)] {
            let claims = Claims { reply_shard: shard, ..claims(at_least_once) };
            let id = JobId::mint(&claims, &keys(1));
            assert_eq!((id.at_least_once(), id.reply_shard()), (at_least_once, shard));
        }
        let beyond = Claims { reply_shard: Some(127), ..claims(false) };
        assert_eq!(JobId::mint(&beyond, &keys(1)).reply_shard(), None);
    }

    #[test]
    fn a_gather_leads_to_the_ids_of_its_branches() {
        let gather = JobId::mint_gather(&Claims { reply_shard: Some(4), ..claims(true) }, &keys(1));
        assert!(
            gather.is_gather() && JobId::verify(&gather.to_string(), "default", &keys(1)).is_ok()
        );
        let branch = |index| gather.branch(index, "/a.B/D", UnixMillis(1_700_000_900_000));
        let first = branch(0);
        assert_eq!(first, branch(0));
        assert!(first.uuid() != branch(1).uuid() && first.uuid() != gather.uuid());
        assert!(!first.is_gather() && first.at_least_once() && first.reply_shard().is_none());
        assert_eq!(first.submitted_at(), gather.submitted_at());
        assert_eq!(first.retention(), gather.retention() + Duration::from_secs(900));
        assert_eq!(first.expires_at(), UnixMillis(1_700_000_900_000));
        assert_eq!(first.method_tag(), tag("/a.B/D"));
        assert_eq!(
            JobId::verify(&first.to_string(), "default", &keys(1)),
            Err(JobIdError::Unknown)
        );
        let signed = first.signed(&keys(1));
        assert_eq!(JobId::verify(&signed.to_string(), "default", &keys(1)), Ok(signed));
        assert_eq!(signed.uuid(), first.uuid());
    }

    #[test]
    fn branches_have_the_key_of_their_gather_also_after_a_rotation() {
        let (old, new) = ("1:MDEyMzQ1Njc4OWFiY2RlZg==", "2:ZmVkY2JhOTg3NjU0MzIxMA==");
        let keys = |text: &str| Keyring::parse(text).unwrap();
        let gather = JobId::mint_gather(&claims(false), &keys(old));
        let rotated = keys(&format!("{new},{old}"));
        let branch = gather.branch(0, "/a.B/C", gather.expires_at()).signed(&rotated);
        assert_eq!(JobId::verify(&branch.to_string(), "default", &rotated), Ok(branch));
        assert_eq!(branch, gather.branch(0, "/a.B/C", gather.expires_at()).signed(&keys(old)));
        let gone = branch.signed(&keys(new));
        assert!(JobId::verify(&gone.to_string(), "default", &keys(new)).is_err());
    }

    #[test]
    fn a_tenants_tag_cannot_be_known_without_the_key() {
        let id = |seed| JobId::mint(&claims(false), &keys(seed)).bytes;
        assert_ne!(id(1)[19..23], id(2)[19..23]);
        let other = JobId::mint(&Claims { tenant: "other", ..claims(false) }, &keys(1)).bytes;
        assert_ne!(id(1)[19..23], other[19..23]);
    }

    #[test]
    fn says_what_it_was_minted_for() {
        let text = JobId::mint(&claims(true), &keys(1)).to_string();
        assert_eq!(text.len(), TEXT_LEN);
        let id = JobId::verify(&text, "default", &keys(1)).unwrap();
        assert_eq!(id.uuid(), claims(true).uuid);
        assert_eq!(id.submitted_at(), UnixMillis(1_700_000_000_000));
        assert_eq!(id.expires_at(), UnixMillis(1_700_000_600_123));
        assert_eq!(id.retention(), Duration::from_secs(3601));
        assert!(id.at_least_once());
        assert_eq!(id.method_tag(), tag("/a.B/C"));
    }

    #[test]
    fn forged_and_foreign_are_the_same_answer() {
        let text = JobId::mint(&claims(false), &keys(1)).to_string();
        assert_eq!(JobId::verify(&text, "default", &keys(2)), Err(JobIdError::Unknown));
        assert_eq!(JobId::verify(&text, "other", &keys(1)), Err(JobIdError::Unknown));
        let mut forged = text.clone().into_bytes();
        forged[40] = if forged[40] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        assert_eq!(JobId::verify(&forged, "default", &keys(1)), Err(JobIdError::Unknown));
    }

    proptest! {
        #[test]
        fn any_text_is_answered_without_a_panic(text in ".{0,100}") {
            prop_assert!(JobId::verify(&text, "default", &keys(1)).is_err());
        }

        #[test]
        fn every_changed_character_is_noticed(position in 0usize..TEXT_LEN, letter in "[A-Za-z0-9_-]") {
            let text = JobId::mint(&claims(false), &keys(1)).to_string();
            let mut changed = text.clone();
            changed.replace_range(position..=position, &letter);
            prop_assume!(changed != text);
            prop_assert!(JobId::verify(&changed, "default", &keys(1)).is_err());
        }
    }
}

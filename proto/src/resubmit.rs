//! Resubmit tokens: the right to submit a job once more under its id.
//!
//! A gateway that cannot know whether a queue took a job gives one to the caller. It holds
//! for one subject and one submission: both are under its MAC, and neither is in it, so that
//! a verifier computes them from the call that brings the token and trusts nothing.
//!
//! ```text
//! key id 1 | job id 53 | MAC 16      = 70 bytes, 94 characters
//! MAC over: domain | job id 53 | owner 16 | digest of the submission 32
//! ```

use crate::job_id::{JobId, LEN as ID_LEN};
use crate::keys::{Keyring, MAC_LEN};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const LEN: usize = 1 + ID_LEN + MAC_LEN;
const TEXT_LEN: usize = 94;
const DOMAIN: &[u8] = b"queuebridge resubmit token\0";

/// What a token is bound to, besides the job.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    /// The tenant of the caller.
    pub tenant: &'a str,
    /// The mark of the caller's tenant and subject.
    pub owner: &'a [u8; 16],
    /// The digest of the submission.
    pub digest: &'a [u8; 32],
}

/// A token for the job, under the key that signs.
#[must_use]
pub fn token(id: &JobId, bound: &Bound<'_>, keys: &Keyring) -> String {
    let mac = keys.sign(&[DOMAIN, id.as_bytes(), bound.owner, bound.digest]);
    let mut bytes = [0; LEN];
    bytes[0] = keys.signing_id();
    bytes[1..=ID_LEN].copy_from_slice(id.as_bytes());
    bytes[1 + ID_LEN..].copy_from_slice(&mac);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The job of a token that was made for exactly this, under any key of the ring. Malformed,
/// forged, of another caller and of another submission are one answer.
#[must_use]
pub fn verify(text: &str, bound: &Bound<'_>, keys: &Keyring) -> Option<JobId> {
    let mut bytes = [0; LEN];
    if text.len() != TEXT_LEN || URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) != Ok(LEN) {
        return None;
    }
    let mut id = [0; ID_LEN];
    id.copy_from_slice(&bytes[1..=ID_LEN]);
    let id = JobId::from_bytes(id)?;
    let signed = [DOMAIN, id.as_bytes(), bound.owner, bound.digest];
    let authentic = keys.verify(u32::from(bytes[0]), &signed, &bytes[1 + ID_LEN..]);
    // Both are evaluated: the time taken does not tell one mistake from another.
    (authentic & id.is_authentic(bound.tenant, keys)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job_id::Claims;
    use crate::time::UnixMillis;
    use proptest::prelude::*;
    use std::time::Duration;
    use uuid::Uuid;

    const BOUND: Bound<'_> = Bound { tenant: "t", owner: &[1; 16], digest: &[2; 32] };
    const OLD: &str = "1:MDEyMzQ1Njc4OWFiY2RlZg==";
    const NEW: &str = "2:ZmVkY2JhOTg3NjU0MzIxMA==";

    fn keys(text: &str) -> Keyring {
        Keyring::parse(text).unwrap()
    }

    fn id(tenant: &str, keys: &Keyring) -> JobId {
        let claims = Claims {
            uuid: Uuid::parse_str("018bcfe5-6800-7000-8000-0102030405ff").unwrap(),
            tenant,
            method: "/a.B/C",
            expires_at: UnixMillis(1_700_000_600_123),
            retention: Duration::from_secs(3600),
            at_least_once: false,
            reply_shard: None,
        };
        JobId::mint(&claims, keys)
    }

    #[test]
    fn a_token_leads_to_its_job_for_its_caller_and_submission_only() {
        let ring = keys(OLD);
        let id = id("t", &ring);
        let text = token(&id, &BOUND, &ring);
        assert_eq!(text.len(), TEXT_LEN);
        assert_eq!(verify(&text, &BOUND, &ring), Some(id));
        for other in [
            Bound { tenant: "u", ..BOUND },
            Bound { owner: &[3; 16], ..BOUND },
            Bound { digest: &[3; 32], ..BOUND },
        ] {
            assert_eq!(verify(&text, &other, &ring), None, "{other:?}");
        }
    }

    #[test]
    fn a_token_of_another_tenants_job_is_none_whoever_signed_it() {
        let ring = keys(OLD);
        let text = token(&id("u", &ring), &BOUND, &ring);
        assert_eq!(verify(&text, &BOUND, &ring), None);
    }

    #[test]
    fn a_token_of_an_old_key_is_taken_while_the_ring_has_the_key() {
        let old = keys(OLD);
        let id = id("t", &old);
        let text = token(&id, &BOUND, &old);
        assert_eq!(verify(&text, &BOUND, &keys(&format!("{NEW},{OLD}"))), Some(id));
        assert_eq!(verify(&text, &BOUND, &keys(NEW)), None);
        let rotated = keys(&format!("{NEW},{OLD}"));
        assert_eq!(verify(&token(&id, &BOUND, &rotated), &BOUND, &rotated), Some(id));
    }

    #[test]
    fn a_jobs_id_is_no_token() {
        let ring = keys(OLD);
        assert_eq!(verify(&id("t", &ring).to_string(), &BOUND, &ring), None);
    }

    proptest! {
        #[test]
        fn any_text_is_answered_without_a_panic(text in ".{0,120}") {
            prop_assert_eq!(verify(&text, &BOUND, &keys(OLD)), None);
        }

        #[test]
        fn every_changed_character_is_noticed(at in 0usize..TEXT_LEN, letter in "[A-Za-z0-9_-]") {
            let ring = keys(OLD);
            let text = token(&id("t", &ring), &BOUND, &ring);
            let mut changed = text.clone();
            changed.replace_range(at..=at, &letter);
            prop_assume!(changed != text);
            prop_assert_eq!(verify(&changed, &BOUND, &ring), None);
        }
    }
}

//! Announcements of finished jobs: to the text of a message on a reply shard, and
//! back.
//!
//! They are sealed with the envelope keys, under a domain of their own: a stranger
//! with access to the shard can neither invent an answer nor pass off a call as one.

use crate::envelope::{self, EnvelopeError, Sealable};
use crate::keys::Keyring;
use crate::v1::Announcements;

impl Sealable for Announcements {
    const DOMAIN: &'static [u8] = b"queuebridge announcements\0";
}

/// Seals announcements into the body of a message.
#[must_use]
pub fn seal(announcements: &Announcements, keys: &Keyring) -> String {
    envelope::seal_with(announcements, keys, None)
}

/// Opens the body of a message.
///
/// # Errors
/// See [`EnvelopeError`].
pub fn open(body: &str, keys: &Keyring) -> Result<Announcements, EnvelopeError> {
    envelope::authenticate(body, keys)?.read(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Announcement, Call};

    #[test]
    fn announcements_and_calls_are_not_taken_for_each_other() {
        let keys = Keyring::single(&[1; 32]);
        let job = Announcement { job: vec![7; 16].into(), ..Announcement::default() };
        let announcements = Announcements { jobs: vec![job] };
        let body = seal(&announcements, &keys);
        assert_eq!(open(&body, &keys), Ok(announcements));
        assert_eq!(envelope::open(&body, &keys), Err(EnvelopeError::Unauthentic));
        let call = envelope::seal(&Call::default(), &keys);
        assert_eq!(open(&call, &keys), Err(EnvelopeError::Unauthentic));
        assert_eq!(open(&body, &Keyring::single(&[2; 32])), Err(EnvelopeError::Unauthentic));
    }
}

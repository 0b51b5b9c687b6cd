//! Messages of the callback queue: to their text, and back.
//!
//! They are sealed with the envelope keys, under a domain of their own: a stranger
//! with access to the queue can make nobody call anything.

use crate::envelope::{self, EnvelopeError, Sealable};
use crate::keys::Keyring;
use crate::v1::CallbackMessage;

impl Sealable for CallbackMessage {
    const DOMAIN: &'static [u8] = b"queuebridge callback\0";
}

/// Seals a message into its text.
#[must_use]
pub fn seal(message: &CallbackMessage, keys: &Keyring) -> String {
    envelope::seal_with(message, keys, None)
}

/// Opens the text of a message.
///
/// # Errors
/// See [`EnvelopeError`].
pub fn open(body: &str, keys: &Keyring) -> Result<CallbackMessage, EnvelopeError> {
    envelope::authenticate(body, keys)?.read(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Announcements, Call};

    #[test]
    fn what_belongs_to_another_queue_is_not_opened() {
        let keys = Keyring::single(&[1; 32]);
        let message = CallbackMessage { job_id: "id".into(), ..CallbackMessage::default() };
        let body = seal(&message, &keys);
        assert_eq!(open(&body, &keys), Ok(message));
        let unauthentic = EnvelopeError::Unauthentic;
        assert_eq!(envelope::open(&body, &keys), Err(unauthentic));
        assert_eq!(open(&envelope::seal(&Call::default(), &keys), &keys), Err(unauthentic));
        let announcements = crate::reply::seal(&Announcements::default(), &keys);
        assert_eq!(open(&announcements, &keys), Err(unauthentic));
    }
}

//! What travels, sealed: signed with the envelope keys, and encrypted where that is wanted.

use super::{Encryption, KeyError, OVERHEAD};
use queuebridge_proto::envelope::{self, Sealable};
use queuebridge_proto::{EnvelopeError, Keyring};

/// Seals and opens what travels.
#[derive(Clone, Debug)]
pub struct Seal {
    keys: Keyring,
    encryption: Option<Encryption>,
}

/// Why a message was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is not what it should be.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Its data key cannot be had, now or here.
    #[error(transparent)]
    Key(KeyError),
}

impl OpenError {
    /// Whether it may be opened here a little later.
    #[must_use]
    pub fn is_of_the_moment(&self) -> bool {
        matches!(self, Self::Key(KeyError::Unavailable { .. } | KeyError::NoRandomness))
    }

    /// Whether another worker, newer or with other keys, may be able to open it, or this
    /// one once its key is enabled again.
    #[must_use]
    pub fn may_be_newer(&self) -> bool {
        match self {
            Self::Envelope(error) => error.may_be_newer(),
            Self::Key(_) => true,
        }
    }
}

impl From<KeyError> for OpenError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::NotAuthentic(_) => Self::Envelope(EnvelopeError::Unauthentic),
            other => Self::Key(other),
        }
    }
}

impl From<Keyring> for Seal {
    fn from(keys: Keyring) -> Self {
        Self { keys, encryption: None }
    }
}

impl Seal {
    /// Signs with `keys`, and encrypts if there is an encryption.
    #[must_use]
    pub fn new(keys: Keyring, encryption: Option<Encryption>) -> Self {
        Self { keys, encryption }
    }

    /// Finds out whether something could be sealed now, before anything depends on it.
    ///
    /// # Errors
    /// When there is no data key.
    pub async fn ready(&self) -> Result<(), KeyError> {
        match &self.encryption {
            Some(encryption) => encryption.current().await.map(drop),
            None => Ok(()),
        }
    }

    /// Seals a message into the text of a queue message.
    ///
    /// # Errors
    /// When there is no data key.
    pub async fn seal<M: Sealable>(&self, message: &M) -> Result<String, KeyError> {
        if let Some(encryption) = &self.encryption
            && let Some(key) = encryption.current().await?
        {
            let salt = encryption.salt()?;
            return Ok(envelope::seal_with(message, &self.keys, Some((&key, salt))));
        }
        Ok(envelope::seal_with(message, &self.keys, None))
    }

    /// Opens the text of a queue message.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open<M: Sealable>(&self, body: &str) -> Result<M, OpenError> {
        let message = envelope::authenticate::<M>(body, &self.keys)?;
        let key = match (&self.encryption, message.data_key()) {
            (Some(encryption), Some(wrapped)) => Some(encryption.unwrap(wrapped).await?),
            (Some(encryption), None) if encryption.required() => {
                return Err(EnvelopeError::NotEncrypted.into());
            }
            _ => None,
        };
        let opened = message.read(key.as_deref())?;
        if let (Some(encryption), Some(key)) = (&self.encryption, key) {
            encryption.opened(key);
        }
        Ok(opened)
    }

    /// What encryption adds to the body of a message, at most.
    #[must_use]
    pub fn overhead(&self) -> usize {
        if self.encryption.is_some() { OVERHEAD.div_ceil(3) * 4 } else { 0 }
    }
}

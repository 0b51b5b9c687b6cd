//! Encryption of what travels and rests: where data keys come from, and the stores that
//! keep nothing that can be read without one.
//!
//! A gateway asks a master key for a data key, and encrypts under it for a while. A worker
//! unwraps the data keys of the envelopes that it opens, and encrypts what it writes under
//! the one that it has opened last: between a handler's answer and its outcome there is
//! nothing more to ask for, and a worker may decrypt and need not be able to make keys.

mod asked;
#[cfg(feature = "aws")]
mod kms;
mod local;
mod master;
mod payloads;
mod results;
mod seal;
mod streams;

#[cfg(feature = "aws")]
pub use kms::{KmsKey, master_keys};
pub use local::LocalKey;
pub use master::{KeyError, MasterKey, MasterKeyError, MasterKeyName};
pub use queuebridge_proto::encryption::Secret;
pub use seal::{OpenError, Seal};

use crate::Stores;
use asked::Asked;
use bytes::Bytes;
use prost::Message;
use queuebridge_proto::encryption::{Context, DataKey, SALT_LEN, Salt};
use queuebridge_proto::v1::{Encrypted, WrappedKey};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The longest name of a master key and its form of a data key together: both stand in
/// every message. KMS takes about 270 bytes.
pub const MAX_WRAPPED: usize = 900;
/// What encryption makes a message longer by, at most, before Base64.
pub(crate) const OVERHEAD: usize = MAX_WRAPPED + 100;
/// The most unwrapped keys that are kept: one for each gateway and five minutes.
const MAX_OPENED: usize = 1024;

/// Under which data keys a process writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// Under keys of its own making, each for at most five minutes and 2^20 uses.
    Own,
    /// Under the key that it has opened last; before that it encrypts nothing.
    Opened,
    /// It encrypts nothing, and only reads.
    Nothing,
}

/// The encryption of a process; clones share the keys in hand.
#[derive(Clone, Debug)]
pub struct Encryption(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    masters: Vec<Arc<dyn MasterKey>>,
    writes: Writes,
    required: bool,
    own: Asked,
    opened: Mutex<HashMap<WrappedKey, (Instant, Arc<Asked>)>>,
    latest: Mutex<Option<Arc<DataKey>>>,
    random: SystemRandom,
}

impl Encryption {
    /// Encryption under these master keys: the first makes data keys, all unwrap them, and
    /// no other key is ever asked. `required`: an envelope that is not encrypted is
    /// refused.
    #[must_use]
    pub fn new(masters: Vec<Arc<dyn MasterKey>>, writes: Writes, required: bool) -> Self {
        let (own, random) = (Asked::default(), SystemRandom::new());
        let (opened, latest) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { masters, writes, required, own, opened, latest, random }))
    }

    pub(crate) fn required(&self) -> bool {
        self.0.required
    }

    /// The data key to write under now; `None`: what is written now is not encrypted.
    ///
    /// # Errors
    /// When the master key cannot be asked, or refuses.
    pub async fn current(&self) -> Result<Option<Arc<DataKey>>, KeyError> {
        match self.0.writes {
            Writes::Nothing => Ok(None),
            Writes::Opened => Ok(lock(&self.0.latest).clone()),
            Writes::Own => self.0.own.get(|| self.make()).await.map(Some),
        }
    }

    async fn make(&self) -> Result<Arc<DataKey>, KeyError> {
        let Some(master) = self.0.masters.first() else {
            return Err(KeyError::NotAllowed("(none)".to_owned()));
        };
        let made = master.generate().await?;
        let wrapped = made.wrapped();
        if wrapped.key_id.len() + wrapped.wrapped.len() > MAX_WRAPPED {
            let problem = "its data keys are too long".to_owned();
            return Err(KeyError::Refused { key: wrapped.key_id.clone(), problem });
        }
        let key = Arc::new(made);
        // What comes back under it needs no question.
        self.slot(key.wrapped()).put(key.clone()).await;
        Ok(key)
    }

    /// The data key of this wrapped form.
    ///
    /// # Errors
    /// When no master key of this process has wrapped it, or that cannot be asked.
    pub async fn unwrap(&self, wrapped: &WrappedKey) -> Result<Arc<DataKey>, KeyError> {
        let master = self.0.masters.iter().find(|master| master.id() == wrapped.key_id);
        let master = master.ok_or_else(|| KeyError::NotAllowed(wrapped.key_id.clone()))?;
        let ask = || async {
            let secret = master.unwrap(&wrapped.wrapped).await?;
            Ok(Arc::new(DataKey::new(wrapped.clone(), secret)))
        };
        self.slot(wrapped).get(ask).await
    }

    /// From now on this key is written under, where the process makes none.
    pub(crate) fn opened(&self, key: Arc<DataKey>) {
        if self.0.writes == Writes::Opened {
            *lock(&self.0.latest) = Some(key);
        }
    }

    fn slot(&self, wrapped: &WrappedKey) -> Arc<Asked> {
        let mut opened = lock(&self.0.opened);
        if let Some((_, slot)) = opened.get(wrapped) {
            return slot.clone();
        }
        let now = Instant::now();
        opened.retain(|_, (since, _)| now.duration_since(*since) < asked::KEPT);
        if opened.len() >= MAX_OPENED {
            opened.clear();
        }
        let slot = Arc::new(Asked::default());
        opened.insert(wrapped.clone(), (now, slot.clone()));
        slot
    }

    pub(crate) fn salt(&self) -> Result<Salt, KeyError> {
        let mut salt = [0; SALT_LEN];
        let filled = self.0.random.fill(&mut salt);
        filled.map(|()| salt).map_err(|_| KeyError::NoRandomness)
    }

    /// Encrypts a message that rests; `None`: as it is.
    async fn encrypt(
        &self,
        context: &Context,
        message: &impl Message,
    ) -> Result<Option<Box<Encrypted>>, KeyError> {
        let Some(key) = self.current().await? else { return Ok(None) };
        let sealed = key.seal(self.salt()?, context, &message.encode_to_vec());
        Ok(Some(Box::new(sealed)))
    }

    /// Decrypts a message that rests.
    async fn decrypt<M: Message + Default>(
        &self,
        context: &Context,
        sealed: &Encrypted,
    ) -> Result<M, KeyError> {
        let wrapped = sealed.key.clone().unwrap_or_default();
        let key = self.unwrap(&wrapped).await?;
        let plain: Option<Bytes> = key.open(context, sealed).ok();
        let message = plain.and_then(|plain| M::decode(plain).ok());
        message.ok_or(KeyError::NotAuthentic(wrapped.key_id))
    }
}

/// A store behind which nothing of a caller's or handler's can be read.
#[derive(Debug)]
pub struct EncryptedStore<S: ?Sized> {
    inner: Arc<S>,
    encryption: Encryption,
}

impl<S: ?Sized> EncryptedStore<S> {
    /// `inner`, encrypted.
    #[must_use]
    pub fn new(inner: Arc<S>, encryption: Encryption) -> Self {
        Self { inner, encryption }
    }
}

impl Stores {
    /// These stores, encrypted: outcomes, progress, chunks of streams and payloads. Plans
    /// of gathers, digests of submissions and leases stay as they are.
    #[must_use]
    pub fn encrypted(self, encryption: Encryption) -> Self {
        let with = |encryption: &Encryption| encryption.clone();
        let payloads = self.payloads.map(|inner| {
            let store = EncryptedStore::new(inner, with(&encryption));
            Arc::new(store) as Arc<dyn crate::PayloadStore>
        });
        Self {
            results: Arc::new(EncryptedStore::new(self.results, with(&encryption))),
            streams: Arc::new(EncryptedStore::new(self.streams, with(&encryption))),
            payloads,
            encryption: Some(encryption),
            ..self
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

//! A master key in memory, for deployments without KMS and for tests.

use super::master::{KeyError, MasterKey};
use async_trait::async_trait;
use prost::Message;
use queuebridge_proto::encryption::{Context, DataKey, KEY_LEN, SALT_LEN, Secret};
use queuebridge_proto::v1::{Encrypted, WrappedKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

/// A master key whose secret is given by configuration. Data keys are wrapped under it as
/// everything else is under them.
pub struct LocalKey {
    id: String,
    key: DataKey,
    context: Context,
    random: SystemRandom,
}

impl LocalKey {
    /// The key `id` of a deployment.
    #[must_use]
    pub fn new(id: &str, secret: Secret, deployment: &str) -> Self {
        Self {
            id: id.to_owned(),
            key: DataKey::new(WrappedKey::default(), secret),
            context: Context::new("data key", &[deployment.as_bytes()]),
            random: SystemRandom::new(),
        }
    }

    fn random<const N: usize>(&self) -> Result<Zeroizing<[u8; N]>, KeyError> {
        let mut bytes = Zeroizing::new([0; N]);
        self.random.fill(&mut *bytes).map_err(|_| KeyError::NoRandomness)?;
        Ok(bytes)
    }
}

#[async_trait]
impl MasterKey for LocalKey {
    fn id(&self) -> &str {
        &self.id
    }

    async fn generate(&self) -> Result<DataKey, KeyError> {
        let secret = self.random::<KEY_LEN>()?;
        let salt = self.random::<SALT_LEN>()?;
        let wrapped = self.key.seal(*salt, &self.context, &*secret);
        let wrapped = Encrypted { key: None, ..wrapped }.encode_to_vec().into();
        Ok(DataKey::new(WrappedKey { key_id: self.id.clone(), wrapped }, secret))
    }

    async fn unwrap(&self, wrapped: &[u8]) -> Result<Secret, KeyError> {
        let not_authentic = || KeyError::NotAuthentic(self.id.clone());
        let sealed = Encrypted::decode(wrapped).map_err(|_| not_authentic())?;
        let secret = self.key.open(&self.context, &sealed).map_err(|_| not_authentic())?;
        let secret: [u8; KEY_LEN] = secret[..].try_into().map_err(|_| not_authentic())?;
        Ok(Zeroizing::new(secret))
    }
}

impl std::fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LocalKey({})", self.id)
    }
}

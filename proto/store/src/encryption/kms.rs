//! A master key in AWS KMS.

use super::local::LocalKey;
use super::master::{KeyError, MasterKey, MasterKeyName};
use async_trait::async_trait;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::Region;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use bytes::Bytes;
use queuebridge_proto::encryption::{DataKey, KEY_LEN, Secret};
use queuebridge_proto::v1::WrappedKey;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// One question with its repetitions: KMS answers in about ten milliseconds, and a caller
/// waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// In the encryption context, which KMS checks, logs, and can be asked for by policies.
const DEPLOYMENT: &str = "queuebridge:deployment";

/// A symmetric key of KMS. Gateways need `kms:GenerateDataKey` and `kms:Decrypt` for it,
/// workers `kms:Decrypt`.
#[derive(Clone, Debug)]
pub struct KmsKey {
    client: Client,
    arn: String,
    deployment: String,
}

impl KmsKey {
    /// The key of this ARN, in its Region, for a deployment. `sdk` is the SDK's
    /// configuration.
    #[must_use]
    pub fn new<C>(sdk: &C, arn: &str, region: &str, deployment: &str) -> Self
    where
        for<'a> aws_sdk_kms::config::Builder: From<&'a C>,
    {
        let patience = TimeoutConfig::builder().operation_timeout(PATIENCE).build();
        let config = aws_sdk_kms::config::Builder::from(sdk)
            .region(Region::new(region.to_owned()))
            .timeout_config(patience);
        let client = Client::from_conf(config.build());
        Self { client, arn: arn.to_owned(), deployment: deployment.to_owned() }
    }

    fn error<E, R>(&self, error: SdkError<E, R>) -> KeyError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        let key = self.arn.clone();
        let code = error.as_service_error().and_then(|error| error.code()).unwrap_or_default();
        let of_the_key = [
            "AccessDeniedException",
            "DisabledException",
            "InvalidKeyUsageException",
            "KMSInvalidStateException",
            "NotFoundException",
        ];
        match code {
            "InvalidCiphertextException" | "IncorrectKeyException" => KeyError::NotAuthentic(key),
            code if of_the_key.contains(&code) => {
                let problem = DisplayErrorContext(error).to_string();
                KeyError::Refused { key, problem }
            }
            _ => {
                let problem = DisplayErrorContext(error).to_string();
                KeyError::Unavailable { key, problem }
            }
        }
    }

    /// The secret of an answer.
    fn secret(&self, blob: Option<Blob>) -> Result<Secret, KeyError> {
        let bytes = Zeroizing::new(blob.map(Blob::into_inner).unwrap_or_default());
        let secret: Result<[u8; KEY_LEN], _> = bytes.as_slice().try_into();
        secret.map(Zeroizing::new).map_err(|_| KeyError::NotAuthentic(self.arn.clone()))
    }
}

#[async_trait]
impl MasterKey for KmsKey {
    fn id(&self) -> &str {
        &self.arn
    }

    async fn generate(&self) -> Result<DataKey, KeyError> {
        let call = self
            .client
            .generate_data_key()
            .key_id(&self.arn)
            .key_spec(DataKeySpec::Aes256)
            .encryption_context(DEPLOYMENT, &self.deployment);
        let made = call.send().await.map_err(|error| self.error(error))?;
        let wrapped = made.ciphertext_blob.map(Blob::into_inner).unwrap_or_default();
        let wrapped = WrappedKey { key_id: self.arn.clone(), wrapped: Bytes::from(wrapped) };
        Ok(DataKey::new(wrapped, self.secret(made.plaintext)?))
    }

    async fn unwrap(&self, wrapped: &[u8]) -> Result<Secret, KeyError> {
        let call = self
            .client
            .decrypt()
            // Named, so that KMS refuses what another key has wrapped.
            .key_id(&self.arn)
            .ciphertext_blob(Blob::new(wrapped))
            .encryption_context(DEPLOYMENT, &self.deployment);
        let opened = call.send().await.map_err(|error| self.error(error))?;
        self.secret(opened.plaintext)
    }
}

/// The master keys of these names for a deployment.
#[must_use]
pub fn master_keys<C>(names: &[MasterKeyName], deployment: &str, sdk: &C) -> Vec<Arc<dyn MasterKey>>
where
    for<'a> aws_sdk_kms::config::Builder: From<&'a C>,
{
    let key = |name: &MasterKeyName| -> Arc<dyn MasterKey> {
        match name {
            MasterKeyName::Kms { arn, region } => {
                Arc::new(KmsKey::new(sdk, arn, region, deployment))
            }
            MasterKeyName::Local { id, secret } => {
                Arc::new(LocalKey::new(id, secret.clone(), deployment))
            }
        }
    };
    names.iter().map(key).collect()
}

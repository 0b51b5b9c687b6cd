//! Master keys: they make and unwrap data keys, and are themselves never in hand, or only
//! where a deployment has no KMS.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use queuebridge_proto::encryption::{DataKey, KEY_LEN, Secret};
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// Makes and unwraps data keys for one deployment: what was wrapped for another one is not
/// unwrapped. Calls may be repeated, and have a time limit of their own.
#[async_trait]
pub trait MasterKey: fmt::Debug + Send + Sync + 'static {
    /// Its name, as it stands in wrapped keys.
    fn id(&self) -> &str;

    /// A new data key.
    async fn generate(&self) -> Result<DataKey, KeyError>;

    /// The data key of this wrapped form.
    async fn unwrap(&self, wrapped: &[u8]) -> Result<Secret, KeyError>;
}

/// Why a data key cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It was not reached, or is throttled: it may be asked again.
    #[error("the key {key} could not be asked: {problem}")]
    Unavailable {
        /// Its name.
        key: String,
        /// What has happened.
        problem: String,
    },
    /// It is disabled or deleted, or this process may not use it.
    #[error("the key {key} cannot be used: {problem}")]
    Refused {
        /// Its name.
        key: String,
        /// What it says.
        problem: String,
    },
    /// It is none of those that this process was given.
    #[error("the key {0} is none of those that this process may ask")]
    NotAllowed(String),
    /// It has not wrapped this data key, or for another deployment; or what was encrypted
    /// was altered, or belongs elsewhere.
    #[error("something under the key {0} is not authentic")]
    NotAuthentic(String),
    /// The system has no random bytes.
    #[error("the system has no random bytes")]
    NoRandomness,
}

/// Which master key, as a configuration says it: the ARN of a key of KMS, or
/// `local:NAME:SECRET` with 32 bytes in Base64. Neither `Debug` nor `Display` show the
/// secret.
#[derive(Clone, PartialEq, Eq)]
pub enum MasterKeyName {
    /// A symmetric key of AWS KMS.
    Kms {
        /// Its ARN. An alias is none: what it points to can be changed by others.
        arn: String,
        /// The Region in it.
        region: String,
    },
    /// A key in this process's memory, where there is no KMS.
    Local {
        /// Its name, with `local:` before it.
        id: String,
        /// The secret.
        secret: Secret,
    },
}

/// What a text is instead of the name of a master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither the ARN of a KMS key nor local:NAME:BASE64 with 32 bytes")]
pub struct MasterKeyError;

impl MasterKeyName {
    /// How the key is called in messages.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Kms { arn, .. } => arn,
            Self::Local { id, .. } => id,
        }
    }
}

impl FromStr for MasterKeyName {
    type Err = MasterKeyError;

    fn from_str(text: &str) -> Result<Self, MasterKeyError> {
        if let Some(rest) = text.strip_prefix("local:") {
            let (name, secret) = rest.split_once(':').ok_or(MasterKeyError)?;
            let legal = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
            let secret = Zeroizing::new(STANDARD.decode(secret).map_err(|_| MasterKeyError)?);
            let secret: [u8; KEY_LEN] = secret.as_slice().try_into().map_err(|_| MasterKeyError)?;
            if !(1..=64).contains(&name.len()) || !name.bytes().all(legal) {
                return Err(MasterKeyError);
            }
            let (id, secret) = (format!("local:{name}"), Zeroizing::new(secret));
            return Ok(Self::Local { id, secret });
        }
        // arn:PARTITION:kms:REGION:ACCOUNT:key/ID
        let parts: Vec<&str> = text.split(':').collect();
        match parts.as_slice() {
            ["arn", partition, "kms", region, account, key]
                if partition.starts_with("aws")
                    && !region.is_empty()
                    && account.bytes().all(|c| c.is_ascii_digit())
                    && key.strip_prefix("key/").is_some_and(|id| !id.is_empty())
                    && text.len() <= 256 =>
            {
                Ok(Self::Kms { arn: text.to_owned(), region: (*region).to_owned() })
            }
            _ => Err(MasterKeyError),
        }
    }
}

impl fmt::Display for MasterKeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kms { arn, .. } => f.write_str(arn),
            Self::Local { id, .. } => write!(f, "{id}:<redacted>"),
        }
    }
}

impl fmt::Debug for MasterKeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

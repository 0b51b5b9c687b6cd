//! What a worker needs to know of the encryption.

use super::{list, name};
use queuebridge_store::encryption::MasterKeyName;

/// Encryption of what travels and rests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptionConfig {
    /// The master keys that may be asked to unwrap data keys. At least one.
    pub keys: Vec<MasterKeyName>,
    /// Whether envelopes that are not encrypted are refused.
    pub required: bool,
}

pub(super) fn encryption<'a>(
    get: &impl Fn(&str) -> Option<&'a str>,
    errors: &mut Vec<String>,
) -> Option<EncryptionConfig> {
    let required = match get(name::ENCRYPTION_REQUIRED) {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            errors.push(format!("{}: expected true or false", name::ENCRYPTION_REQUIRED));
            false
        }
    };
    let names = list(get(name::ENCRYPTION_KEYS));
    let keys: Vec<MasterKeyName> = names.iter().flat_map(|name| name.parse()).collect();
    if keys.len() < names.len() {
        // Not which: what is wrong may be a secret.
        let what = "expected ARNs of KMS keys, or local:NAME:BASE64 with 32 bytes";
        errors.push(format!("{}: {what}", name::ENCRYPTION_KEYS));
        return None;
    }
    if keys.is_empty() && required {
        errors.push(format!("{}: the keys are missing", name::ENCRYPTION_KEYS));
    }
    (!keys.is_empty()).then_some(EncryptionConfig { keys, required })
}

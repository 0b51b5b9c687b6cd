//! The encryption of a gateway, and of a replay.

use crate::config::{Config, EncryptionConfig};
use aws_config::SdkConfig;
use queuebridge_store::PayloadStore;
use queuebridge_store::encryption::{EncryptedStore, Encryption, Writes, master_keys};
use std::sync::Arc;

/// A gateway makes data keys. The table's name says for which deployment.
pub(crate) fn gateway(of: &EncryptionConfig, config: &Config, sdk: &SdkConfig) -> Encryption {
    let writes = if of.encrypt { Writes::Own } else { Writes::Nothing };
    Encryption::new(master_keys(&of.keys, &config.store.table, sdk), writes, of.required)
}

/// A replay only reads, whatever it finds.
pub(crate) fn replay(of: &EncryptionConfig, deployment: &str, sdk: &SdkConfig) -> Encryption {
    Encryption::new(master_keys(&of.keys, deployment, sdk), Writes::Nothing, false)
}

/// The payloads behind the encryption, if there is one.
pub(crate) fn payloads<S: PayloadStore>(
    store: Arc<S>,
    encryption: Option<&Encryption>,
) -> Arc<dyn PayloadStore> {
    match encryption {
        Some(encryption) => Arc::new(EncryptedStore::new(store, encryption.clone())),
        None => store,
    }
}

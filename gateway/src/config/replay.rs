//! What a replay needs of the gateway's configuration.

use super::encryption;
use super::read::{keys, not_toml, payloads};
use super::reader::Reader;
use super::values::{bytes, text};
use super::{ConfigErrors, EncryptionConfig, MAX_MESSAGE_BYTES, MESSAGE_BYTES, StoreConfig};
use queuebridge_proto::Keyring;
use std::path::Path;

/// What a replay needs of the gateway's configuration: to open envelopes, and
/// to fetch the requests that are not in them.
#[derive(Clone, Debug)]
pub struct ReplayConfig {
    /// Opens envelopes. Required.
    pub envelope_keys: Keyring,
    /// The largest gRPC message that the gateway takes, in bytes.
    pub max_message_bytes: usize,
    /// The S3 bucket with large requests, if there is one.
    pub payload_bucket: Option<String>,
    /// The beginning of every key in it.
    pub payload_prefix: String,
    /// The table, which names the deployment to the keys of its encryption.
    pub table: String,
    /// The encryption, if there is one.
    pub encryption: Option<EncryptionConfig>,
}

impl ReplayConfig {
    /// Reads the file that is named here or in `QB_CONFIG`, and the environment of this process.
    ///
    /// # Errors
    /// Every mistake in what a replay needs.
    pub fn from_process(file: Option<&Path>) -> Result<Self, ConfigErrors> {
        let env: Vec<(String, String)> = super::environment().collect();
        Self::parse(&super::text_of(super::lambda::file(file, &env).as_deref())?, env)
    }

    /// Reads the text of a configuration file and the given environment. The
    /// rest of the configuration is not needed and not judged: whoever replays
    /// has no use for the keys of job ids.
    ///
    /// # Errors
    /// Every mistake in what a replay needs.
    pub fn parse(
        file: &str,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let (file, env) = super::given::text(file, env);
        let table = toml::from_str(&file).map_err(|error| not_toml(&file, &error))?;
        let mut reader = Reader::new(table, env);
        let envelope_keys = keys(&mut reader, "envelope_keys");
        let max_message_bytes = reader.read("max_message_bytes", bytes(MESSAGE_BYTES));
        let mut store = StoreConfig::new("");
        payloads(&mut reader, &mut store);
        let encryption = encryption::read(&mut reader);
        let mut table = String::new();
        if encryption.is_some() {
            let name = text("the name of the DynamoDB table", |name| Some(name.to_owned()));
            reader.set("store.table", &mut table, name);
        }
        let mistakes = reader.mistakes();
        match envelope_keys {
            Some(envelope_keys) if mistakes.is_empty() => Ok(Self {
                envelope_keys,
                max_message_bytes: max_message_bytes.unwrap_or(MAX_MESSAGE_BYTES),
                payload_bucket: store.payload_bucket,
                payload_prefix: store.payload_prefix,
                table,
                encryption,
            }),
            _ => Err(ConfigErrors(mistakes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";

    fn parse(text: &str, env: &[(&str, &str)]) -> Result<ReplayConfig, ConfigErrors> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        ReplayConfig::parse(text, env)
    }

    #[test]
    fn the_keys_of_envelopes_are_enough() {
        let keys = format!("7:{SECRET}");
        let config = parse("", &[("QB_ENVELOPE_KEYS", &keys)]).unwrap();
        assert_eq!(config.envelope_keys.signing_id(), 7);
        assert_eq!((config.payload_bucket, config.max_message_bytes), (None, 4 << 20));
        assert_eq!(config.payload_prefix, StoreConfig::new("").payload_prefix);
    }

    #[test]
    fn the_gateways_file_will_do_and_its_variables_override_it() {
        let file = format!(
            "envelope_keys = \"1:{SECRET}\"\njob_id_keys = \"1:{SECRET}\"\nlisten = \"[::]:1\"\n\
             max_message_bytes = \"1MiB\"\n[store]\ntable = \"t\"\npayload_bucket = \"one\"\n\
             payload_prefix = \"p/\"\n[[route]]\nmethods = \"*\"\nqueue = \"http://q\"\n"
        );
        let config = parse(&file, &[("QB_STORE_PAYLOAD_BUCKET", "two")]).unwrap();
        assert_eq!(config.payload_bucket.as_deref(), Some("two"));
        assert_eq!((config.payload_prefix.as_str(), config.max_message_bytes), ("p/", 1 << 20));
    }

    #[test]
    fn every_mistake_is_named_and_no_secret() {
        let broken = "envelope_keys = \"1:c2hvcnQ=\"\nmax_message_bytes = 3\n[store]\n\
                      payload_prefix = \"/p\"\n";
        let errors = parse(broken, &[]).unwrap_err();
        let places: Vec<&str> = errors.0.iter().map(|m| m.place.as_str()).collect();
        assert_eq!(places, ["envelope_keys", "max_message_bytes", "store.payload_prefix"]);
        assert!(!errors.to_string().contains("c2hvcnQ"));
        assert_eq!(parse("", &[]).unwrap_err().0[0].place, "envelope_keys");
        assert_eq!(parse("x = ", &[]).unwrap_err().0[0].place, "line 1");
    }
}

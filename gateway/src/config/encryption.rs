//! What the configuration says about encryption.

use super::read::{names, yes_or_no};
use super::reader::{Found, Reader};
use queuebridge_store::encryption::MasterKeyName;
use std::collections::HashSet;

/// Encryption of what travels and rests, before queues, tables and buckets see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptionConfig {
    /// The master keys: the first makes data keys, all unwrap them. At least one.
    pub keys: Vec<MasterKeyName>,
    /// Whether anything is encrypted, or only read that is. Default: yes. No is for
    /// the time in which not all gateways have the keys yet.
    pub encrypt: bool,
    /// Whether messages that are not encrypted are refused. Default: no.
    pub required: bool,
}

const KEYS: &str = "a list of different keys, the one that encrypts first, each as the ARN of a \
                    KMS key (no alias) or as \"local:NAME:BASE64\" with 32 bytes";

pub(super) fn read(reader: &mut Reader) -> Option<EncryptionConfig> {
    let keys = keys(reader);
    let (mut encrypt, mut required) = (true, false);
    reader.set("encryption.encrypt", &mut encrypt, yes_or_no);
    reader.set("encryption.required", &mut required, yes_or_no);
    if keys.is_none() && (!encrypt || required) {
        reader.missing("encryption.keys", KEYS);
    }
    if required && !encrypt {
        let problem = "nothing is encrypted here, and everything is to be";
        reader.complain("encryption.required", problem, "encryption.encrypt = true");
    }
    keys.map(|keys| EncryptionConfig { keys, encrypt, required })
}

/// The list may contain secrets: it is not shown when it is wrong.
fn keys(reader: &mut Reader) -> Option<Vec<MasterKeyName>> {
    let Found { place, value } = reader.take("encryption.keys")?;
    let all = names(&value).unwrap_or_default();
    let parsed: Vec<_> = all.iter().map(|name| name.parse::<MasterKeyName>()).collect();
    let wrong = parsed.iter().position(Result::is_err);
    let keys: Vec<MasterKeyName> = parsed.into_iter().flatten().collect();
    let different: HashSet<&str> = keys.iter().map(MasterKeyName::id).collect();
    let problem = match wrong {
        Some(index) => format!("entry {} is none", index + 1),
        None if keys.is_empty() => "there is none".to_owned(),
        None if different.len() < keys.len() => "a key is there twice".to_owned(),
        None => return Some(keys),
    };
    reader.complain(place, problem, KEYS);
    None
}

#[cfg(test)]
mod tests {
    use super::super::{Config, ConfigErrors};

    const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    const ARN: &str = "arn:aws:kms:eu-central-1:123456789012:key/a";

    fn parse(encryption: &str, env: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let text = format!(
            "auth = \"none\"\njob_id_keys = \"1:MDEyMzQ1Njc4OWFiY2RlZg==\"\n\
             envelope_keys = \"1:ZmVkY2JhOTg3NjU0MzIxMA==\"\n\
             [store]\ntable = \"t\"\n[[route]]\nmethods = \"*\"\nqueue = \"http://q\"\n\
             {encryption}"
        );
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::parse(&text, env)
    }

    #[test]
    fn keys_come_from_the_file_or_a_variable() {
        assert_eq!(parse("", &[]).unwrap().encryption, None);
        let local = format!("local:one:{SECRET}");
        let file = format!("[encryption]\nkeys = [\"{ARN}\", \"{local}\"]\nrequired = true");
        let config = parse(&file, &[]).unwrap();
        let shown = config.to_string();
        let encryption = config.encryption.unwrap();
        let ids: Vec<&str> = encryption.keys.iter().map(|key| key.id()).collect();
        assert_eq!(ids, [ARN, "local:one"]);
        assert!(encryption.encrypt && encryption.required);
        assert!(!shown.contains("MDEyMzQ1Njc4OWFiY2RlZjAx"), "{shown}");
        assert!(shown.contains("local:one:<redacted>"), "{shown}");
        let both = format!("{local},{ARN}");
        let env = [("QB_ENCRYPTION_KEYS", both.as_str()), ("QB_ENCRYPTION_ENCRYPT", "false")];
        let encryption = parse("", &env).unwrap().encryption.unwrap();
        assert_eq!((encryption.keys.len(), encryption.encrypt), (2, false));
    }

    #[test]
    fn mistakes_are_named_and_no_secret() {
        let twice = format!("[encryption]\nkeys = [\"{ARN}\", \"{ARN}\"]");
        let short = "[encryption]\nkeys = [\"local:one:c2VjcmV0\"]";
        let contradictory =
            format!("[encryption]\nkeys = [\"{ARN}\"]\nencrypt = false\nrequired = true");
        for (wrong, place) in [
            (twice.as_str(), "encryption.keys"),
            (short, "encryption.keys"),
            ("[encryption]\nkeys = []", "encryption.keys"),
            ("[encryption]\nrequired = true", "encryption.keys"),
            (contradictory.as_str(), "encryption.required"),
        ] {
            let errors = parse(wrong, &[]).unwrap_err();
            let places: Vec<&str> = errors.0.iter().map(|m| m.place.as_str()).collect();
            assert_eq!(places, [place], "{wrong}");
            assert!(!errors.to_string().contains("c2VjcmV0"), "{errors}");
        }
    }
}

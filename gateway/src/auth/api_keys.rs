//! API keys: `<id>.<secret>`. The file has only the hashes of the secrets.

use super::refusal::{self, Refused};
use super::{AuthError, Grant, Rights};
use crate::audit;
use crate::config::{TENANT, is_tenant};
use crate::identity::Identity;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

const MAX_ID: usize = 64;
const HASH_LEN: usize = 32;

/// So often the file is looked at while keys are used: a key that is taken out of it is
/// refused that much later.
const LOOK: Duration = Duration::from_secs(5);

/// The keys of a file, which is read again when it has changed.
#[derive(Debug)]
pub struct ApiKeys {
    path: PathBuf,
    grants: Vec<Grant>,
    keys: RwLock<Arc<HashMap<String, Known>>>,
    looked: Mutex<Looked>,
}

/// When the file was looked at, and what stood in it: neither its time nor its length
/// has to change with a hash.
#[derive(Debug)]
struct Looked {
    at: Instant,
    seen: Option<[u8; HASH_LEN]>,
}

#[derive(Debug)]
struct Known {
    hash: [u8; HASH_LEN],
    identity: Identity,
}

/// The file.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<Entry>,
}

/// One key as it stands in the file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What its holder is called in logs: 1 to 64 characters of `A-Z a-z 0-9 _ -`.
    pub id: String,
    /// The SHA-256 of the secret, in hexadecimal. A fast hash is enough, because a secret
    /// is not chosen by a person: it has 256 random bits.
    pub sha256: String,
    /// The tenant of its holder.
    pub tenant: String,
    /// The roles of its holder.
    #[serde(default)]
    pub roles: Vec<String>,
}

impl ApiKeys {
    /// The keys of a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn load(path: &Path, grants: &[Grant]) -> Result<Self, AuthError> {
        let looked = Looked { at: Instant::now(), seen: seen(path) };
        let wrong = |problem| AuthError::ApiKeys { path: path.to_owned(), problem };
        let keys = RwLock::new(Arc::new(read(path, grants).map_err(wrong)?));
        let (path, grants) = (path.to_owned(), grants.to_vec());
        Ok(Self { path, grants, keys, looked: Mutex::new(looked) })
    }

    /// Takes the keys that the file has now instead of those of before, which stay if it
    /// is wrong.
    pub(super) fn reload(&self) {
        let problem = match read(&self.path, &self.grants) {
            Ok(keys) => {
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
                None
            }
            Err(problem) => Some(problem),
        };
        audit::reloaded("API keys", &self.path, problem.as_deref());
    }

    /// Reads the file again if it has changed.
    fn look(&self) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.at.elapsed() < LOOK {
            return;
        }
        looked.at = Instant::now();
        let now = seen(&self.path);
        if now != looked.seen {
            looked.seen = now;
            self.reload();
        }
    }

    /// Who holds a key.
    pub(super) fn identify(&self, key: &str) -> Result<Identity, Refused> {
        self.look();
        let (id, secret) = key.split_once('.').unwrap_or((key, ""));
        let hash = Sha256::digest(secret);
        let known = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let found = known.get(id);
        // An unknown id takes the same time as a wrong secret.
        let expected = found.map_or([0; HASH_LEN], |known| known.hash);
        let same = bool::from(expected.ct_eq(&hash[..]));
        let refused = || refusal::invalid("the API key is not known");
        match found {
            Some(known) if same => Ok(known.identity.clone()),
            // What is no id of ours might be a secret.
            Some(known) => Err(refused().claiming(known.identity.subject.to_string())),
            None => Err(refused()),
        }
    }
}

fn read(path: &Path, grants: &[Grant]) -> Result<HashMap<String, Known>, String> {
    parse(&std::fs::read_to_string(path).map_err(|error| error.to_string())?, grants)
}

fn seen(path: &Path) -> Option<[u8; HASH_LEN]> {
    std::fs::read(path).ok().map(|contents| Sha256::digest(contents).into())
}

fn parse(text: &str, grants: &[Grant]) -> Result<HashMap<String, Known>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.message().trim().to_owned())?;
    let mut keys = HashMap::with_capacity(file.key.len());
    for (index, entry) in file.key.into_iter().enumerate() {
        let wrong = |problem: &str| format!("key[{index}]: {problem}");
        if !is_id(&entry.id) {
            return Err(wrong("`id` is 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'"));
        }
        let hash = unhex(&entry.sha256)
            .ok_or_else(|| wrong("`sha256` is the hash of the secret, 64 hexadecimal digits"))?;
        if !is_tenant(&entry.tenant) {
            return Err(wrong(&format!("`tenant` is {TENANT}")));
        }
        let rights = Rights::of(&entry.roles, grants);
        let identity = Identity::new(entry.tenant, format!("api-key:{}", entry.id), rights);
        if keys.insert(entry.id, Known { hash, identity }).is_some() {
            return Err(wrong("its `id` is used twice"));
        }
    }
    Ok(keys)
}

/// Whether this can be the id of a key.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let legal = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(legal)
}

fn unhex(text: &str) -> Option<[u8; HASH_LEN]> {
    let mut hash = [0; HASH_LEN];
    if text.len() != 2 * HASH_LEN || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

/// The hash of a secret as it stands in the file.
#[must_use]
pub fn hash_of(secret: &str) -> String {
    Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Entries as the text of a file.
#[must_use]
pub fn to_file(key: Vec<Entry>) -> String {
    toml::to_string(&File { key }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    fn keys(file: &tempfile::NamedTempFile, entries: Vec<Entry>) -> ApiKeys {
        std::fs::write(file.path(), to_file(entries)).unwrap();
        ApiKeys::load(file.path(), &[]).unwrap()
    }

    fn entry(id: &str, secret: &str) -> Entry {
        let (id, tenant) = (id.to_owned(), "shop".to_owned());
        Entry { id, sha256: hash_of(secret), tenant, roles: vec!["clerk".into()] }
    }

    #[test]
    fn only_the_right_secret_of_the_right_id_is_let_in() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let keys = keys(&file, vec![entry("a", "secret-a"), entry("b", "secret-b")]);
        let found = keys.identify("a.secret-a").unwrap();
        assert_eq!((&*found.tenant, &*found.subject), ("shop", "api-key:a"));
        for wrong in ["a.secret-b", "b.secret-a", "c.secret-a", "a.", "a", "", ".", "a.secret-a."] {
            let refused = keys.identify(wrong).unwrap_err();
            assert_eq!(refused.status.code(), Code::Unauthenticated, "{wrong}");
        }
        // An id is told to the audit log only if it is one: people paste secrets anywhere.
        let claimed = |key: &str| keys.identify(key).unwrap_err().claimed;
        assert_eq!(claimed("a.secret-b").as_deref(), Some("api-key:a"));
        assert_eq!((claimed("secret-a"), claimed("secret-a.a")), (None, None));
        // Neither an unknown id with a secret whose hash is the stand-in's.
        assert!(keys.identify("nobody.x").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_has_changed_is_read_again_and_a_wrong_one_is_not_taken() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let keys = keys(&file, vec![entry("old", "secret")]);
        std::fs::write(file.path(), to_file(vec![entry("new", "secret-of-new")])).unwrap();
        assert!(keys.identify("old.secret").is_ok(), "not looked at yet");
        tokio::time::advance(LOOK).await;
        assert!(keys.identify("old.secret").is_err());
        assert!(keys.identify("new.secret-of-new").is_ok());
        // Neither time nor length tell of another hash.
        let time = file.as_file().metadata().unwrap().modified().unwrap();
        std::fs::write(file.path(), to_file(vec![entry("new", "another-secret")])).unwrap();
        file.as_file().set_modified(time).unwrap();
        tokio::time::advance(LOOK).await;
        assert!(keys.identify("new.secret-of-new").is_err());
        assert!(keys.identify("new.another-secret").is_ok());
        std::fs::write(file.path(), "[[key").unwrap();
        tokio::time::advance(LOOK).await;
        assert!(keys.identify("new.another-secret").is_ok(), "the last right one stays");
    }

    #[test]
    fn mistakes_in_the_file_are_named() {
        let parsed = |text: &str| parse(text, &[]).map(|keys| keys.len());
        let hash = hash_of("x");
        assert_eq!(parsed(""), Ok(0));
        let entry = |id: &str, hash: &str, tenant: &str| {
            format!("[[key]]\nid = \"{id}\"\nsha256 = \"{hash}\"\ntenant = \"{tenant}\"\n")
        };
        assert_eq!(parsed(&entry("a", &hash, "t")), Ok(1));
        for (text, named) in [
            (entry("a.b", &hash, "t"), "id"),
            (entry("a", "abc", "t"), "sha256"),
            (entry("a", &"zz".repeat(32), "t"), "sha256"),
            (entry("a", &hash, ""), "tenant"),
            (entry("a", &hash, "t") + &entry("a", &hash, "t"), "twice"),
            (entry("a", &hash, "t") + "secret = \"x\"", "secret"),
        ] {
            let error = parsed(&text).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}

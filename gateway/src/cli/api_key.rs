//! `queuebridge api-key`: a new key, and its entry for the gateway's file.

use super::Exit;
use crate::auth::api_keys::{Entry, hash_of, is_id, to_file};
use crate::config::{TENANT, is_tenant};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use ring::rand::{SecureRandom, SystemRandom};

const SECRET_BYTES: usize = 32;

/// Whose key it is.
#[derive(Clone, Debug, Args)]
pub struct ApiKeyArgs {
    /// What the holder is called in logs: 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'
    #[arg(long, value_parser = id)]
    pub id: String,
    /// The holder's tenant
    #[arg(long, value_parser = tenant)]
    pub tenant: String,
    /// A role of the holder; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<String>,
}

/// Prints the entry for the file to the standard output, so that it can be appended there,
/// and the key, which nobody can find out later, to the standard error.
pub fn run(args: ApiKeyArgs) -> Exit {
    let mut secret = [0; SECRET_BYTES];
    if SystemRandom::new().fill(&mut secret).is_err() {
        eprintln!("the system has no random numbers");
        return Exit::CallFailed;
    }
    let secret = URL_SAFE_NO_PAD.encode(secret);
    let ApiKeyArgs { id, tenant, roles } = args;
    eprintln!("{id}.{secret}");
    print!("{}", to_file(vec![Entry { id, sha256: hash_of(&secret), tenant, roles }]));
    Exit::Success
}

fn id(text: &str) -> Result<String, &'static str> {
    let rule = "1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'";
    if is_id(text) { Ok(text.to_owned()) } else { Err(rule) }
}

fn tenant(text: &str) -> Result<String, &'static str> {
    if is_tenant(text) { Ok(text.to_owned()) } else { Err(TENANT) }
}

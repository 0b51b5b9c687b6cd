//! JSON Web Tokens (RFC 7519, and RFC 8725 for how to check them).

mod algorithms;
mod claims;
mod fetch;
mod head;
mod jwk;
mod keys;
mod provider;
mod source;

use super::cache::Seen;
use super::refusal::{self, Refused};
use super::{AuthError, Grant};
use crate::config::IssuerConfig;
use crate::identity::Identity;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claims::Claims;
use fetch::Fetch;
use head::Head;
use jsonwebtoken::crypto::verify;
use jsonwebtoken::get_current_timestamp;
use keys::{Candidates, NoKey};
use source::Source;
use std::time::Duration;

pub(crate) use algorithms::{WAY_OUT, algorithm, missing};

/// Those whose tokens are taken.
pub(super) struct Issuers {
    issuers: Vec<Issuer>,
    seen: Seen,
}

struct Issuer {
    config: IssuerConfig,
    grants: Vec<Grant>,
    source: Source,
}

impl Issuers {
    pub(super) fn new(configs: &[IssuerConfig], grants: &[Grant]) -> Result<Self, AuthError> {
        provider::install();
        let issuer = |config: &IssuerConfig| -> Result<Issuer, AuthError> {
            let source = Source::new(&config.issuer, Fetch::new(&config.jwks)?);
            Ok(Issuer { config: config.clone(), grants: grants.to_vec(), source })
        };
        let issuers = configs.iter().map(issuer).collect::<Result<_, _>>()?;
        Ok(Self { issuers, seen: Seen::default() })
    }

    /// The caller, if its token was checked lately.
    pub(super) fn seen(&self, token: &str) -> Option<Identity> {
        self.seen.get(token)
    }

    /// The caller who has a token.
    pub(super) async fn identify(&self, token: &str) -> Result<Identity, Refused> {
        let signed = Signed::split(token)?;
        // Nothing of these two is believed before the signature is checked.
        let head = Head::read(&decoded(signed.header)?)?;
        let claims: Claims =
            serde_json::from_slice(&decoded(signed.claims)?).map_err(|_| not_a_token())?;
        let issuer = self.issuers.iter().find(|issuer| claims.iss() == issuer.config.issuer);
        let issuer = issuer.ok_or_else(|| refusal::invalid("the token's issuer is not known"))?;
        let named = |refused: Refused| refused.claiming(format!("issuer:{}", issuer.config.issuer));
        issuer.check(&signed, &head, &claims).await.map_err(named)?;
        let identity = claims.identity(&issuer.config, &issuer.grants)?;
        let valid_until = claims.exp().saturating_add(issuer.config.leeway.as_secs());
        let valid_for = Duration::from_secs(valid_until.saturating_sub(get_current_timestamp()));
        self.seen.put(token, &identity, valid_for);
        Ok(identity)
    }
}

impl Issuer {
    /// Checks that a token is this issuer's, for us, and valid now.
    async fn check(&self, token: &Signed<'_>, head: &Head, claims: &Claims) -> Result<(), Refused> {
        // Not what the token asks for, but what this issuer is known to use: neither
        // `none` nor a public key as the secret of an HMAC can be talked into.
        let (id, algorithm) = (head.kid.as_deref(), head.algorithm);
        if !self.config.algorithms.contains(&algorithm) {
            let problem = "which is not among its issuer's `algorithms`";
            let problem = format!("the token is signed with {algorithm:?}, {problem}");
            return Err(refusal::invalid(&problem));
        }
        let made_by = |candidates: &Candidates| {
            let mut keys = candidates.keys.iter();
            keys.any(|key| {
                let verified = verify(token.signature, token.message.as_bytes(), key, algorithm);
                verified.unwrap_or(false)
            })
        };
        let mut candidates = self.source.keys(id, algorithm).await.map_err(no_key)?;
        let mut verified = made_by(&candidates);
        if !verified && !candidates.are_named {
            candidates = self.source.newer_keys(id, algorithm).await.map_err(no_key)?;
            verified = made_by(&candidates);
        }
        if !verified {
            return Err(refusal::invalid("the token's signature is wrong"));
        }
        claims.check(&self.config, get_current_timestamp())
    }
}

/// The parts of a signed token (RFC 7515 7.1).
struct Signed<'a> {
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
    /// Header and claims: what is signed.
    message: &'a str,
}

impl<'a> Signed<'a> {
    fn split(token: &'a str) -> Result<Self, Refused> {
        let (message, signature) = token.rsplit_once('.').ok_or_else(not_a_token)?;
        let (header, claims) = message.split_once('.').ok_or_else(not_a_token)?;
        if claims.contains('.') {
            return Err(refusal::invalid("the token is encrypted, or no JSON Web Token"));
        }
        Ok(Self { header, claims, signature, message })
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, Refused> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| not_a_token())
}

fn not_a_token() -> Refused {
    refusal::invalid("not a JSON Web Token")
}

fn no_key(problem: NoKey) -> Refused {
    match problem {
        NoKey::Unknown => refusal::invalid("the token's key is not known"),
        NoKey::Unavailable => refusal::unavailable(),
    }
}

#[cfg(test)]
mod tests;

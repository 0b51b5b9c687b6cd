//! JSON Web Tokens (RFC 7519, and RFC 8725 for how to check them).

mod claims;
mod fetch;
mod keys;
mod provider;
mod source;

use super::cache::Seen;
use super::refusal::{self, Refused};
use super::{AuthError, Grant};
use crate::config::IssuerConfig;
use crate::identity::Identity;
use claims::Claims;
use fetch::Fetch;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Header, Validation, dangerous, decode, decode_header, get_current_timestamp};
use keys::NoKey;
use source::Source;
use std::time::Duration;

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
            let source = Source::new(Fetch::new(&config.jwks)?);
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
        // Nothing of these two is believed before the signature is checked.
        let header = decode_header(token).map_err(|_| not_a_token())?;
        let claims: Claims = dangerous::insecure_decode_claims(token).map_err(|_| not_a_token())?;
        let issuer = self.issuers.iter().find(|issuer| claims.iss() == issuer.config.issuer);
        let issuer = issuer.ok_or_else(|| refusal::invalid("the token's issuer is not known"))?;
        let named = |refused: Refused| refused.claiming(format!("issuer:{}", issuer.config.issuer));
        let claims = issuer.check(token, &header).await.map_err(named)?;
        let identity = claims.identity(&issuer.config, &issuer.grants)?;
        let valid_until = claims.exp().saturating_add(issuer.config.leeway.as_secs());
        let valid_for = Duration::from_secs(valid_until.saturating_sub(get_current_timestamp()));
        self.seen.put(token, &identity, valid_for);
        Ok(identity)
    }
}

impl Issuer {
    /// The claims of a token that is this issuer's, for us, and valid now.
    async fn check(&self, token: &str, header: &Header) -> Result<Claims, Refused> {
        // Not what the token asks for, but what this issuer is known to use: neither
        // `none` nor a public key as the secret of an HMAC can be talked into.
        if !self.config.algorithms.contains(&header.alg) {
            return Err(refusal::invalid("the token is signed with another algorithm"));
        }
        if header.crit.is_some() {
            return Err(refusal::invalid("the token has critical extensions"));
        }
        let key = self.source.key(header.kid.as_deref(), header.alg).await.map_err(no_key)?;
        let mut validation = Validation::new(header.alg);
        validation.leeway = self.config.leeway.as_secs();
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&self.config.audiences);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let token = decode::<Claims>(token, &key, &validation);
        Ok(token.map_err(|error| refused(error.kind()))?.claims)
    }
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

fn refused(kind: &ErrorKind) -> Refused {
    match kind {
        ErrorKind::ExpiredSignature => refusal::expired("the token has expired"),
        ErrorKind::ImmatureSignature => refusal::expired("the token is not valid yet"),
        ErrorKind::InvalidAudience => refusal::invalid("the token is for another audience"),
        ErrorKind::MissingRequiredClaim(name) => {
            refusal::invalid(&format!("the token has no `{name}`"))
        }
        ErrorKind::InvalidSignature => refusal::invalid("the token's signature is wrong"),
        _ => refusal::invalid("the token is not valid"),
    }
}

#[cfg(test)]
mod tests;

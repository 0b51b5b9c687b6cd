//! What a token says, and who that is here.

use super::super::refusal::{self, Refused};
use super::super::{Grant, Rights};
use crate::config::{IssuerConfig, TenantFrom, is_tenant};
use crate::identity::Identity;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What a subject may be long in logs.
const MAX_SUBJECT: usize = 128;

/// All claims of a token.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    /// Whether the token is valid now, and for us; `now` is in seconds since 1970. Its
    /// signature and its issuer are checked elsewhere. `iat` says how old it is, and is no
    /// condition (RFC 7519 4.1.6).
    pub(super) fn check(&self, config: &IssuerConfig, now: u64) -> Result<(), Refused> {
        #[expect(clippy::cast_precision_loss, reason = "seconds are exact for millions of years")]
        let (now, leeway) = (now as f64, config.leeway.as_secs_f64());
        let exp = self.time("exp")?;
        let exp = exp.ok_or_else(|| refusal::invalid("the token has no `exp`"))?;
        if exp + leeway <= now {
            return Err(refusal::expired("the token has expired"));
        }
        if self.time("nbf")?.is_some_and(|nbf| nbf - leeway > now) {
            return Err(refusal::expired("the token is not valid yet"));
        }
        self.check_client(config)?;
        self.check_audience(config)
    }

    /// A time in seconds, which may have a fraction (RFC 7519 2, NumericDate).
    fn time(&self, name: &str) -> Result<Option<f64>, Refused> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| seconds.is_finite());
        let wrong = || refusal::invalid(&format!("the token's `{name}` is no number"));
        seconds.map(Some).ok_or_else(wrong)
    }

    /// Where clients are listed, tokens of access are asked for, and one of these must have it.
    fn check_client(&self, config: &IssuerConfig) -> Result<(), Refused> {
        if config.client_ids.is_empty() {
            return Ok(());
        }
        let is_access = match self.0.get("token_use") {
            Some(token_use) => token_use == "access",
            None => self.0.contains_key("aud"),
        };
        if !is_access {
            return Err(refusal::invalid("the token is not one of access: see its `token_use`"));
        }
        let client = self.0.get("client_id").and_then(Value::as_str);
        if client.is_some_and(|client| config.client_ids.iter().any(|known| known == client)) {
            return Ok(());
        }
        Err(refusal::invalid("the token's `client_id` is not among its issuer's `client_ids`"))
    }

    fn check_audience(&self, config: &IssuerConfig) -> Result<(), Refused> {
        let audiences = match self.0.get("aud") {
            None if config.client_ids.is_empty() => {
                let problem = "the token has no `aud`, and its issuer no `client_ids` here";
                return Err(refusal::invalid(problem));
            }
            None => return Ok(()),
            Some(Value::Array(list)) => list.iter().map(Value::as_str).collect(),
            Some(one) => one.as_str().map(|one| vec![one]),
        };
        let audiences: Vec<&str> =
            audiences.ok_or_else(|| refusal::invalid("the token's `aud` is no text"))?;
        if audiences.iter().any(|aud| config.audiences.iter().any(|ours| ours == aud)) {
            return Ok(());
        }
        Err(refusal::invalid("the token is for another audience"))
    }

    /// Who has made the token, as it says.
    pub(super) fn iss(&self) -> &str {
        self.0.get("iss").and_then(Value::as_str).unwrap_or_default()
    }

    /// When it ends, in whole seconds since 1970.
    pub(super) fn exp(&self) -> u64 {
        let exp = self.0.get("exp").and_then(Value::as_f64).unwrap_or_default();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float that is no time becomes the nearest one"
        )]
        let whole = exp as u64;
        whole
    }

    /// The caller, of claims that were checked.
    pub(super) fn identity(
        &self,
        config: &IssuerConfig,
        grants: &[Grant],
    ) -> Result<Identity, Refused> {
        let tenant = match &config.tenant {
            TenantFrom::Fixed(tenant) => tenant.as_str(),
            TenantFrom::Claim { name, .. } => {
                self.find(name).and_then(Value::as_str).unwrap_or_default()
            }
        };
        if !is_tenant(tenant) {
            return Err(refusal::no_tenant().claiming(self.subject()));
        }
        if !config.tenant.may_be(tenant) {
            return Err(refusal::foreign_tenant().claiming(self.subject()));
        }
        let roles = self.find(&config.roles_claim).map(words).unwrap_or_default();
        let identity = Identity::new(tenant, self.subject(), Rights::of(&roles, grants));
        Ok(identity.known_as(self.principal()))
    }

    /// What nobody else's token says: issuers number their subjects each for itself. A token
    /// without a subject is everybody's, and so is nobody's.
    fn principal(&self) -> String {
        match self.0.get("sub").and_then(Value::as_str) {
            Some(subject) => format!("jwt:{}:{}:{subject}", self.iss().len(), self.iss()),
            None => format!("jwt:{}", uuid::Uuid::new_v4()),
        }
    }

    /// Who has the token, for logs.
    fn subject(&self) -> String {
        let subject = self.0.get("sub").and_then(Value::as_str).unwrap_or("unnamed");
        "jwt:".chars().chain(subject.chars().take(MAX_SUBJECT)).collect()
    }

    /// The claim of a name, or at the place that a JSON Pointer (RFC 6901) names.
    fn find(&self, name: &str) -> Option<&Value> {
        let Some(path) = name.strip_prefix('/') else { return self.0.get(name) };
        let (first, rest) = path.split_once('/').map_or((path, None), |(a, b)| (a, Some(b)));
        let first = self.0.get(&first.replace("~1", "/").replace("~0", "~"))?;
        match rest {
            None => Some(first),
            Some(rest) => first.pointer(&format!("/{rest}")),
        }
    }
}

/// Roles: a list, or words in one text, as in `scope`.
fn words(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => text.split_ascii_whitespace().map(str::to_owned).collect(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(text: &str) -> Claims {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn claims_are_found_by_name_and_by_pointer() {
        let claims = claims(
            r#"{"https://shop.example/tenant": "a", "realm_access": {"roles": ["x", "y"]},
                "scope": "jobs.read jobs.submit", "a/b": {"c": 1}}"#,
        );
        let found = |name: &str| claims.find(name).cloned();
        assert_eq!(found("https://shop.example/tenant").unwrap(), "a");
        assert_eq!(words(&found("/realm_access/roles").unwrap()), ["x", "y"]);
        assert_eq!(words(&found("scope").unwrap()), ["jobs.read", "jobs.submit"]);
        assert_eq!(found("/a~1b/c").unwrap(), 1);
        assert!(found("/realm_access/none").is_none() && found("none").is_none());
    }

    #[test]
    fn whoever_owns_jobs_is_a_subject_of_one_issuer() {
        let principal = |text: &str| claims(text).principal();
        let one = principal(r#"{"iss": "https://a", "sub": "x"}"#);
        assert_eq!(one, principal(r#"{"iss": "https://a", "sub": "x"}"#));
        assert_ne!(one, principal(r#"{"iss": "https://b", "sub": "x"}"#));
        assert_ne!(one, principal(r#"{"iss": "https://a:x", "sub": ""}"#));
        let long = |end: char| principal(&format!(r#"{{"sub": "{}{end}"}}"#, "s".repeat(200)));
        assert_ne!(long('a'), long('b'));
        let unnamed = r#"{"iss": "https://a"}"#;
        assert_ne!(principal(unnamed), principal(unnamed));
    }

    #[test]
    fn ends_are_numbers_of_any_kind() {
        assert_eq!(claims(r#"{"exp": 12}"#).exp(), 12);
        assert_eq!(claims(r#"{"exp": 12.7}"#).exp(), 12);
        assert_eq!(claims(r#"{"exp": "12"}"#).exp(), 0);
    }
}

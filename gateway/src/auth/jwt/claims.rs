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
    /// Who has made the token, as it says.
    pub(super) fn iss(&self) -> &str {
        self.0.get("iss").and_then(Value::as_str).unwrap_or_default()
    }

    /// When it ends, in seconds since 1970.
    pub(super) fn exp(&self) -> u64 {
        let exp = self.0.get("exp");
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float that is no time becomes the nearest one"
        )]
        let rounded = || exp.and_then(Value::as_f64).map(|secs| secs as u64);
        exp.and_then(Value::as_u64).or_else(rounded).unwrap_or(0)
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

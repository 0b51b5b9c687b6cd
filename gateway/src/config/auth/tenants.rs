//! Which tenants the tokens of an issuer may name.

use super::{IssuerConfig, TENANT, TenantFrom, is_tenant, texts};
use queuebridge_proto::tenant::is_beginning;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use toml::Value;

/// Tenants: one by its name, or by `eu-*` all whose names begin with `eu-`. `*` is every
/// tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantPattern {
    /// The tenant of this name.
    Exact(String),
    /// All whose names begin with this text.
    Prefix(String),
}

impl TenantPattern {
    /// Every tenant.
    #[must_use]
    pub fn every() -> Self {
        Self::Prefix(String::new())
    }

    /// Whether a tenant is one of them.
    #[must_use]
    pub fn matches(&self, tenant: &str) -> bool {
        match self {
            Self::Exact(name) => name == tenant,
            Self::Prefix(beginning) => tenant.starts_with(beginning.as_str()),
        }
    }

    /// The tenants that both patterns match, if there can be any: one pattern contains the
    /// other, or they have nothing in common.
    fn common<'a>(&'a self, other: &'a Self) -> Option<&'a Self> {
        let contains = |wide: &Self, narrow: &Self| match (wide, narrow) {
            (Self::Exact(one), Self::Exact(other)) => one == other,
            (Self::Exact(_), Self::Prefix(_)) => false,
            (Self::Prefix(_), Self::Exact(text) | Self::Prefix(text)) => wide.matches(text),
        };
        match (contains(self, other), contains(other, self)) {
            (true, _) => Some(other),
            (_, true) => Some(self),
            _ => None,
        }
    }
}

impl FromStr for TenantPattern {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.strip_suffix('*') {
            Some(beginning) if is_beginning(beginning) => Ok(Self::Prefix(beginning.to_owned())),
            None if is_tenant(text) => Ok(Self::Exact(text.to_owned())),
            _ => Err(()),
        }
    }
}

impl fmt::Display for TenantPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Prefix(beginning) => write!(f, "{beginning}*"),
        }
    }
}

/// One pattern, or a list of at least one.
pub(super) fn patterns(value: &Value) -> Result<Vec<TenantPattern>, String> {
    let expected = format!("tenants, such as [\"acme\", \"eu-*\"]; a tenant is {TENANT}");
    let list = texts(&expected)(value)?;
    list.iter().map(|text| text.parse()).collect::<Result<_, ()>>().map_err(|()| expected)
}

/// The pairs of issuers whose tokens may name one tenant, as sentences for the operator:
/// each of the two can read and end what the other's callers have submitted.
pub(in crate::config) fn overlaps(issuers: &[IssuerConfig]) -> Vec<String> {
    let mut found = Vec::new();
    for (index, one) in issuers.iter().enumerate() {
        for other in &issuers[index + 1..] {
            let (first, second) = (named(one), named(other));
            let pairs = first.iter().flat_map(|a| second.iter().map(move |b| (a, b)));
            let common: Vec<String> =
                pairs.filter_map(|(a, b)| a.common(b)).map(|both| format!("\"{both}\"")).collect();
            if !common.is_empty() {
                found.push(format!(
                    "auth.jwt: the issuers \"{}\" and \"{}\" may name the same tenants: {}; \
                     give each a list of its own in `tenants`",
                    one.issuer,
                    other.issuer,
                    common.join(", ")
                ));
            }
        }
    }
    found
}

fn named(issuer: &IssuerConfig) -> Cow<'_, [TenantPattern]> {
    match &issuer.tenant {
        TenantFrom::Fixed(tenant) => Cow::Owned(vec![TenantPattern::Exact(tenant.clone())]),
        TenantFrom::Claim { tenants, .. } => Cow::Borrowed(tenants),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TenantPattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_star_ends_a_pattern_and_is_nowhere_else() {
        let of = |text: &str, tenant: &str| pattern(text).matches(tenant);
        assert!(of("acme", "acme") && of("eu-*", "eu-1") && of("eu-*", "eu-") && of("*", "any"));
        assert!(!of("acme", "acme2") && !of("acme2", "acme") && !of("eu-*", "eu"));
        assert!(!of("acme", "Acme") && !of("eu-*", "EU-1"));
        for wrong in ["", "a*b", "*a", "**", "a b", "a b*", &"x".repeat(64)] {
            assert!(wrong.parse::<TenantPattern>().is_err(), "{wrong}");
        }
        for text in ["acme", "eu-*", "*"] {
            assert_eq!(pattern(text).to_string(), text);
        }
    }

    fn common(one: &TenantPattern, other: &TenantPattern) -> Option<String> {
        one.common(other).map(ToString::to_string)
    }

    #[test]
    fn what_two_patterns_have_in_common_is_the_narrower_one() {
        for (one, other, both) in [
            ("acme", "acme", Some("acme")),
            ("acme", "shop", None),
            ("acme", "ac*", Some("acme")),
            ("acme", "acme-*", None),
            ("eu-*", "eu-west-*", Some("eu-west-*")),
            ("eu-*", "us-*", None),
            ("*", "eu-*", Some("eu-*")),
            ("*", "*", Some("*")),
        ] {
            let (one, other) = (pattern(one), pattern(other));
            assert_eq!(common(&one, &other).as_deref(), both, "{one} {other}");
            assert_eq!(common(&other, &one).as_deref(), both, "{other} {one}");
        }
    }
}

//! Patterns of method names.

use queuebridge_proto::MethodName;
use std::fmt;
use std::str::FromStr;

/// Which methods a route takes: one method, one service, or all.
///
/// The order of patterns is that of their precision: where several match, the
/// greatest decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MethodPattern {
    /// `*`
    All,
    /// `/package.Service/*`, kept as `/package.Service/`.
    Service(String),
    /// `/package.Service/Method`
    Exact(String),
}

/// The text is none of the three forms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected \"/package.Service/Method\", \"/package.Service/*\" or \"*\"")]
pub struct PatternError;

impl MethodPattern {
    /// Whether the pattern takes this method, `/package.Service/Method`.
    #[must_use]
    pub fn matches(&self, method: &str) -> bool {
        match self {
            Self::All => true,
            // A method has no further slash, so that a prefix decides.
            Self::Service(service) => method.starts_with(service.as_str()),
            Self::Exact(exact) => method == exact,
        }
    }

    /// Whether the pattern takes a method of this service, `package.Service`.
    #[must_use]
    pub fn is_of(&self, service: &str) -> bool {
        match self {
            Self::All => true,
            Self::Service(method) | Self::Exact(method) => {
                let rest = method.strip_prefix('/').and_then(|name| name.strip_prefix(service));
                rest.is_some_and(|rest| rest.starts_with('/'))
            }
        }
    }

    /// How precise the pattern is: 0 for all, 1 for a service, 2 for a method.
    #[must_use]
    pub fn specificity(&self) -> u8 {
        match self {
            Self::All => 0,
            Self::Service(_) => 1,
            Self::Exact(_) => 2,
        }
    }
}

impl FromStr for MethodPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text == "*" {
            return Ok(Self::All);
        }
        if let Some(service) = text.strip_suffix('*') {
            // Any method name will do to check the service before it.
            return match MethodName::parse(&format!("{service}m")) {
                Ok(_) if service.ends_with('/') => Ok(Self::Service(service.to_owned())),
                _ => Err(PatternError),
            };
        }
        MethodName::parse(text)
            .map(|name| Self::Exact(name.as_str().to_owned()))
            .map_err(|_| PatternError)
    }
}

impl fmt::Display for MethodPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Service(service) => write!(f, "{service}*"),
            Self::Exact(exact) => f.write_str(exact),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> MethodPattern {
        text.parse().unwrap()
    }

    #[test]
    fn each_form_takes_its_methods_and_no_others() {
        assert!(pattern("*").matches("/a.B/C"));
        assert!(pattern("/a.B/*").matches("/a.B/C"));
        assert!(!pattern("/a.B/*").matches("/a.BB/C"));
        assert!(pattern("/a.B/C").matches("/a.B/C"));
        assert!(!pattern("/a.B/C").matches("/a.B/CC"));
    }

    #[test]
    fn the_most_precise_is_the_greatest() {
        let mut patterns = [pattern("/a.B/*"), pattern("/a.B/C"), pattern("*")];
        patterns.sort();
        assert_eq!(patterns.map(|p| p.specificity()), [0, 1, 2]);
    }

    #[test]
    fn anything_else_is_refused_and_the_rest_reads_back() {
        for bad in ["", "/", "**", "/*", "/a.B", "/a.B/C*", "/a.*/C", "a.B/*", "/a.B/*/", "/a..B/*"]
        {
            assert_eq!(bad.parse::<MethodPattern>(), Err(PatternError), "{bad:?}");
        }
        for good in ["*", "/a.B/*", "/a.B/C"] {
            assert_eq!(pattern(good).to_string(), good);
        }
    }
}

//! URLs that begin in the same way.

use super::{CallbackUrl, UrlError, parts, path};
use std::fmt;
use std::str::FromStr;
use url::Host;

/// URLs that begin in the same way: `https://HOST[:PORT][/PATH]`. A host may begin
/// with `*.` for its subdomains, a path may end in `*` for everything below; without
/// a path every path is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlPattern {
    /// The URL without its stars.
    base: CallbackUrl,
    /// Whether subdomains are meant, and not the host.
    subdomains: bool,
    /// Whether everything is meant that begins so, and not the path.
    below: bool,
}

/// Whether a URL is one of a pattern's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matched {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// It would be, if its path were not one that servers read in different ways.
    Disguised,
}

/// Why a text is no pattern. It says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The URL without its stars.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A star stands elsewhere.
    #[error("a `*` only as the first part of a host name, or at the end of the path")]
    Star,
    /// A pattern compares no query.
    #[error("a URL without a query: every query is meant")]
    Query,
    /// The beginning of the path can be read in different ways.
    #[error("a path without encoded dots, slashes and percent signs before the `*`")]
    Path,
}

impl UrlPattern {
    /// Whether a URL is one of them. Below a path only those are whose path is read alike by
    /// all servers: without encoded dots and slashes; on a whole host, only without a `..`,
    /// however it is encoded.
    #[must_use]
    pub fn matches(&self, url: &CallbackUrl) -> Matched {
        let base = &self.base;
        let right_host = match (base.url.host(), url.url.host(), self.subdomains) {
            (Some(Host::Domain(parent)), Some(Host::Domain(host)), true) => {
                host.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            (expected, found, false) => expected == found,
            _ => false,
        };
        if base.url.scheme() != url.url.scheme() || base.url.port() != url.url.port() || !right_host
        {
            return Matched::No;
        }
        let (wanted, path) = (base.url.path(), url.url.path());
        match self.below {
            false if path == wanted => Matched::Yes,
            // There is nothing beyond to climb to, and no receiver needs such a path.
            true if wanted == "/" && !path::climbs(path) => Matched::Yes,
            true if path.starts_with(wanted) && path::is_plain(path) => Matched::Yes,
            true if path.starts_with(wanted) => Matched::Disguised,
            _ => Matched::No,
        }
    }
}

impl FromStr for UrlPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (scheme, authority, path) = parts(text).ok_or(UrlError::Scheme)?;
        let path = if path.is_empty() { "/*" } else { path };
        let (host, subdomains) = match authority.strip_prefix("*.") {
            Some(parent) => (parent, true),
            None => (authority, false),
        };
        let (path, below) = match path.strip_suffix('*') {
            Some(beginning) => (beginning, true),
            None => (path, false),
        };
        if host.contains('*') || path.contains('*') {
            return Err(PatternError::Star);
        }
        if path.contains('?') {
            return Err(PatternError::Query);
        }
        let base = CallbackUrl::parse(&format!("{scheme}://{host}{path}"))?;
        if subdomains && !matches!(base.url.host(), Some(Host::Domain(_))) {
            return Err(PatternError::Star);
        }
        if below && !path::is_plain(base.url.path()) {
            return Err(PatternError::Path);
        }
        Ok(Self { base, subdomains, below })
    }
}

impl fmt::Display for UrlPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.base.to_string();
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let (before, behind) =
            (if self.subdomains { "*." } else { "" }, if self.below { "*" } else { "" });
        write!(f, "{scheme}://{before}{rest}{behind}")
    }
}

//! The URLs of callbacks: read by the gateway, which compares them with what it may tell, and
//! by the sender, which calls them. Both read them here, so that the URL that is sent is the
//! URL that was compared.

mod path;
mod pattern;

pub use pattern::{Matched, PatternError, UrlPattern};

use http::Uri;
use std::fmt;
use url::{Host, ParseError, Url};

/// The longest URL, in bytes.
pub const MAX_URL: usize = 2_048;
/// So much of a URL is shown to those who have sent it, in bytes.
const SHOWN: usize = 200;

/// A URL of HTTP in the form that the URL standard (WHATWG) gives it.
///
/// A text is read only if it is in this form already: what a library, a proxy or a server
/// could read in another way is refused. The case of scheme and host, a port that is the
/// scheme's own, and an empty path are no differences (RFC 3986, 6.2.2 and 6.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackUrl {
    url: Url,
    uri: Uri,
}

/// Why a text is no URL of a callback. It says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is too long, or has other characters.
    #[error("at most 2,048 printable ASCII characters without spaces")]
    Text,
    /// The URL standard does not read it.
    #[error("not a URL: {0}")]
    Unreadable(ParseError),
    /// It is not one of HTTP.
    #[error("an https URL")]
    Scheme,
    /// There is more in it than a callback's URL has.
    #[error("a URL with a host, without user, password and fragment")]
    Parts,
    /// The host is no name that can be looked up in one way only.
    #[error("a host without empty parts and without a dot at its end")]
    Host,
    /// The port is 0.
    #[error("a port from 1 to 65535")]
    Port,
    /// A path where there is none.
    #[error("an origin, without a path")]
    Path,
    /// It means another URL.
    #[error("a URL in its normal form, which is here {0}")]
    NotNormal(String),
}

impl CallbackUrl {
    /// Reads a URL of `http` or `https`.
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL || !text.bytes().all(|c| c.is_ascii_graphic()) {
            return Err(UrlError::Text);
        }
        let url = Url::parse(text).map_err(|error| match error {
            ParseError::InvalidPort => UrlError::Port,
            ParseError::RelativeUrlWithoutBase => UrlError::Scheme,
            error => UrlError::Unreadable(error),
        })?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(UrlError::Scheme);
        }
        if has_user(text) || !url.username().is_empty() || url.fragment().is_some() {
            return Err(UrlError::Parts);
        }
        let right_host = match url.host() {
            Some(Host::Domain(name)) => name.split('.').all(|part| !part.is_empty()),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
            None => return Err(UrlError::Parts),
        };
        if !right_host {
            return Err(UrlError::Host);
        }
        if url.port() == Some(0) {
            return Err(UrlError::Port);
        }
        if equivalent(text).as_deref() != Some(url.as_str()) {
            return Err(UrlError::NotNormal(shown(url.as_str())));
        }
        let uri: Uri = url.as_str().parse().map_err(|_| UrlError::Text)?;
        let is_same = uri.path() == url.path() && uri.query() == url.query();
        if !is_same || uri.host() != url.host_str() || uri.port_u16() != url.port() {
            return Err(UrlError::Text);
        }
        Ok(Self { url, uri })
    }

    /// Reads a URL that has nothing behind host and port.
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn parse_origin(text: &str) -> Result<Self, UrlError> {
        let read = Self::parse(text)?;
        let is_origin = read.url.path() == "/" && read.url.query().is_none();
        if is_origin { Ok(read) } else { Err(UrlError::Path) }
    }

    /// What is sent: the normal form.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Whether it is an https URL.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }
}

impl fmt::Display for CallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str())
    }
}

/// Scheme, host with port, and the rest of a URL.
fn parts(text: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    Some((scheme, authority, rest))
}

fn has_user(text: &str) -> bool {
    parts(text).is_some_and(|(_, authority, _)| authority.contains('@'))
}

/// The text without the differences that are none.
fn equivalent(text: &str) -> Option<String> {
    let (scheme, authority, rest) = parts(text)?;
    let (scheme, authority) = (scheme.to_ascii_lowercase(), authority.to_ascii_lowercase());
    let own_port = if scheme == "https" { ":443" } else { ":80" };
    let authority = authority.strip_suffix(own_port).unwrap_or(&authority);
    let slash = if rest.starts_with('/') { "" } else { "/" };
    Some(format!("{scheme}://{authority}{slash}{rest}"))
}

/// The beginning of a URL, for a message: it may be three times as long as what came.
fn shown(url: &str) -> String {
    match url.get(..SHOWN) {
        Some(beginning) if url.len() > SHOWN => format!("{beginning}..."),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests;

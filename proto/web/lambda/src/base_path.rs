//! What stands before the paths of methods where a domain is mapped to an API, or a load
//! balancer hands on what begins so.

use http::Uri;
use http::uri::PathAndQuery;
use std::fmt;
use std::str::FromStr;

/// A path such as `/orders`, which is taken off the paths of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasePath(String);

impl FromStr for BasePath {
    type Err = String;

    /// # Errors
    /// What was expected.
    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |part: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            !part.is_empty() && part.bytes().all(plain)
        };
        match text.strip_prefix('/') {
            Some(rest) if rest.split('/').all(fits) => Ok(Self(text.to_owned())),
            _ => Err("a path such as \"/orders\", of letters, digits and -._~".to_owned()),
        }
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl BasePath {
    /// Takes it off a request's path, if that begins with it.
    pub(crate) fn take_off(&self, uri: &mut Uri) {
        let Some(path) = uri.path_and_query() else { return };
        let Some(rest) = path.as_str().strip_prefix(&self.0) else { return };
        let rest = match rest.bytes().next() {
            Some(b'/') => rest.to_owned(),
            None | Some(b'?') => format!("/{rest}"),
            Some(_) => return,
        };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = PathAndQuery::try_from(rest).ok();
        if let Ok(shorter) = Uri::from_parts(parts) {
            *uri = shorter;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_taken_off_whole_parts_only() {
        let base: BasePath = "/api/v1".parse().unwrap();
        for (given, expected) in [
            ("/api/v1/a.B/C?x=/api/v1", "/a.B/C?x=/api/v1"),
            ("/api/v1?x", "/?x"),
            ("/api/v1", "/"),
            ("/api/v10/a.B/C", "/api/v10/a.B/C"),
            ("/a.B/C", "/a.B/C"),
            ("/api/v1/api/v1/a.B/C", "/api/v1/a.B/C"),
        ] {
            let mut uri: Uri = given.parse().unwrap();
            base.take_off(&mut uri);
            assert_eq!(uri.to_string(), expected);
        }
    }

    #[test]
    fn what_cannot_be_one_is_refused() {
        for text in ["", "/", "api", "/api/", "//a", "/a?b", "/a b", "/%41"] {
            assert!(text.parse::<BasePath>().is_err(), "{text}");
        }
        assert_eq!("/api/v1".parse::<BasePath>().unwrap().to_string(), "/api/v1");
    }
}

//! Method names.

use sha2::{Digest, Sha256};

const MAX_LEN: usize = 256;

/// A well-formed `/package.Service/Method`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MethodName(String);

impl MethodName {
    /// Checks and takes a method name. The error says what is wrong with it.
    ///
    /// # Errors
    /// When it is not `/package.Service/Method` of identifiers, or is longer than
    /// 256 characters.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_LEN {
            return Err("a method name has at most 256 characters");
        }
        let shape = "expected \"/package.Service/Method\"";
        let Some((service, method)) = text.strip_prefix('/').and_then(|t| t.split_once('/')) else {
            return Err(shape);
        };
        if is_identifier(method) && service.split('.').all(is_identifier) {
            Ok(Self(text.to_owned()))
        } else {
            Err(shape)
        }
    }

    /// The full name with its leading slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_identifier(text: &str) -> bool {
    let mut chars = text.bytes();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == b'_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

impl std::fmt::Display for MethodName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands for a method in job ids: two bytes of the SHA-256 of its service,
/// `/package.Service/`, and two of its whole name. A hint, not a proof.
#[must_use]
pub fn tag(method: &str) -> [u8; 4] {
    let service = method.rfind('/').map_or("", |end| &method[..=end]);
    let ([a, b], [c, d]) = (half(service), half(method));
    [a, b, c, d]
}

/// The first half of the tags of all methods of a service, `/package.Service/`.
#[must_use]
pub fn service_tag(service: &str) -> [u8; 2] {
    half(service)
}

fn half(text: &str) -> [u8; 2] {
    let hash = Sha256::digest(text.as_bytes());
    [hash[0], hash[1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_of_a_service_share_half_of_their_tags() {
        let (one, other) = (tag("/a.B/C"), tag("/a.B/D"));
        assert_eq!(one[..2], service_tag("/a.B/"));
        assert_eq!(one[..2], other[..2]);
        assert_ne!(one[2..], other[2..]);
        assert_ne!(tag("/a.C/C")[..2], one[..2]);
    }

    #[test]
    fn accepts_what_grpc_generates_and_nothing_else() {
        for good in ["/a.b.C/D", "/C/D", "/a_1.C2/_d"] {
            assert_eq!(MethodName::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "", "/", "a.C/D", "/a.C", "/a.C/", "//D", "/a..C/D", "/a.C/D/E", "/a.C/D ", "/1a/D",
            "/a.Ç/D",
        ] {
            assert!(MethodName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(MethodName::parse(&format!("/a.{}/D", "C".repeat(300))).is_err());
    }
}

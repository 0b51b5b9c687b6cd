//! Where credentials stand in a request.

use super::refusal::{self, Refused};
use http::{HeaderMap, HeaderValue, header};

const API_KEY: &str = "x-api-key";
/// Longer than any token that fits among the headers of usual servers.
const MAX_LEN: usize = 16 * 1024;

/// What a caller shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Credential<'a> {
    /// `<id>.<secret>`
    ApiKey(&'a str),
    /// A JWT in its compact form.
    Token(&'a str),
}

impl<'a> Credential<'a> {
    /// The credential of a call, if it has any. A call with several, or one in a form that
    /// is not known here, is not let in by what else it may have; but for another scheme of
    /// `authorization` beside an API key, such as AWS's signature, which was for a proxy
    /// or a service of AWS in front.
    pub(super) fn of(headers: &'a HeaderMap) -> Result<Option<Self>, Refused> {
        let mut bearers = headers.get_all(header::AUTHORIZATION).iter();
        let mut api_keys = headers.get_all(API_KEY).iter();
        let values = [bearers.next(), bearers.next(), api_keys.next(), api_keys.next()];
        let (text, is_bearer) = match values {
            [None, None, None, None] => return Ok(None),
            [Some(value), None, None, None] => (value, true),
            [None, None, Some(value), None] => (value, false),
            [Some(other), None, Some(value), None] if is_of_another_scheme(other) => (value, false),
            _ => return Err(refusal::invalid("the call has more than one credential")),
        };
        let text = text.to_str().ok().filter(|text| text.len() <= MAX_LEN);
        let text =
            text.ok_or_else(|| refusal::invalid("the credential is too long, or no text"))?;
        let text = match is_bearer {
            false => text.trim(),
            true => bearer(text)
                .ok_or_else(|| refusal::invalid("`authorization` is not of the type Bearer"))?,
        };
        Ok(Some(match text.bytes().filter(|byte| *byte == b'.').count() {
            2 if is_bearer => Self::Token(text),
            _ => Self::ApiKey(text),
        }))
    }
}

/// What follows the scheme, whose case does not matter (RFC 9110, 11.1).
fn bearer(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(rest.trim())
}

/// Whether it is for a server in front of the gateway: a scheme with what belongs to it (RFC 9110, 11.4), which
/// the gateway has not. A token without its scheme may be ours.
fn is_of_another_scheme(value: &HeaderValue) -> bool {
    let parts = value.to_str().ok().and_then(|text| text.trim().split_once(' '));
    parts.is_some_and(|(scheme, _)| !scheme.contains('.') && !scheme.eq_ignore_ascii_case("bearer"))
}

/// Takes the credentials out: they were for the gateway, and what goes on rests in queues.
pub fn strip(headers: &mut HeaderMap) {
    headers.remove(header::AUTHORIZATION);
    headers.remove(API_KEY);
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn tokens_and_api_keys_are_told_apart() {
        let of = |pairs: &[(&'static str, &str)]| {
            let headers = headers(pairs);
            Credential::of(&headers).map(|found| found.map(|found| format!("{found:?}")))
        };
        assert_eq!(of(&[]).unwrap(), None);
        let token = Some("Token(\"a.b.c\")".to_owned());
        assert_eq!(of(&[("authorization", "Bearer a.b.c")]).unwrap(), token);
        assert_eq!(of(&[("authorization", "bearer  a.b.c ")]).unwrap(), token);
        let key = Some("ApiKey(\"id.secret\")".to_owned());
        assert_eq!(of(&[("authorization", "Bearer id.secret")]).unwrap(), key);
        assert_eq!(of(&[("x-api-key", "id.secret")]).unwrap(), key);
        for signature in ["AWS4-HMAC-SHA256 Credential=a, Signature=b", "Basic aWQ6c2VjcmV0"] {
            let both = [("authorization", signature), ("x-api-key", "id.secret")];
            assert_eq!(of(&both).unwrap(), key, "{signature}");
            assert!(of(&both[..1]).is_err(), "{signature}");
        }
        for refused in [
            &[("authorization", "a.b.c"), ("x-api-key", "id.secret")][..],
            &[("authorization", "bearer a.b.c"), ("x-api-key", "id.secret")],
            &[("authorization", "Basic eDp5"), ("x-api-key", "a.b"), ("x-api-key", "c.d")],
            &[("authorization", "Basic aWQ6c2VjcmV0")],
            &[("authorization", "a.b.c")],
            &[("authorization", "Bearer a.b.c"), ("x-api-key", "id.secret")],
            &[("authorization", "Bearer a.b.c"), ("authorization", "Bearer d.e.f")],
            &[("x-api-key", &"x".repeat(MAX_LEN + 1))],
        ] {
            assert!(of(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn nothing_of_them_goes_on() {
        let mut headers =
            headers(&[("authorization", "Bearer a.b.c"), ("x-api-key", "k"), ("other", "stays")]);
        strip(&mut headers);
        assert_eq!(headers.len(), 1);
        assert!(headers.contains_key("other"));
    }
}

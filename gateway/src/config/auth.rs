//! Who may call: `auth = "none"`, or a table of those who are known.

mod show;
mod tenants;

pub(crate) use queuebridge_proto::tenant::RULE as TENANT;
pub use queuebridge_proto::tenant::is_tenant;
pub(super) use show::show;
pub use tenants::TenantPattern;
pub(super) use tenants::overlaps;

use super::MethodPattern;
use super::reader::{Found, Reader, found};
use super::tables::tables;
use super::values::{has_right_port, text, time, word};
use crate::auth::{Grant, Verb, WAY_OUT, algorithm, missing};
use http::Uri;
use jsonwebtoken::Algorithm;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use toml::{Table, Value};

/// Who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthConfig {
    /// Everybody who can reach the port.
    None,
    /// Those who are known.
    Callers(CallersConfig),
}

/// Those who are known, and what they may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallersConfig {
    /// The file of API keys. It is read at the start and at every SIGHUP.
    pub api_keys: Option<PathBuf>,
    /// Whose tokens are taken.
    pub jwt: Vec<IssuerConfig>,
    /// Whose client certificates are taken.
    pub certificates: Vec<CertificateConfig>,
    /// What they may do. None: everything with the jobs of their tenant.
    pub grants: Vec<Grant>,
}

/// An issuer of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerConfig {
    /// Its name, as it stands in `iss`. Required.
    pub issuer: String,
    /// One of these must stand in `aud`. Required, unless there are `client_ids`.
    pub audiences: Vec<String>,
    /// One of these must be `client_id`, and `token_use`, if it is there, `access`: then a
    /// token may have no `aud`, as Amazon Cognito's have none. Default: none, and every token
    /// needs an `aud`.
    pub client_ids: Vec<String>,
    /// Where its keys are. Required.
    pub jwks: Jwks,
    /// The algorithms that it signs with. Default: `RS256`, `ES256`.
    pub algorithms: Vec<Algorithm>,
    /// What its clock and ours may differ by. Default: 30 s.
    pub leeway: Duration,
    /// Whose jobs its callers' are. Default: the claim `tenant`.
    pub tenant: TenantFrom,
    /// The claim with the roles, a list or words in one text; one that begins with `/` is a
    /// JSON Pointer. Default: `roles`.
    pub roles_claim: String,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Jwks {
    /// At an https URL, or an http one of this machine.
    Url(Uri),
    /// In a file.
    File(PathBuf),
}

/// Where a caller's tenant comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantFrom {
    /// All callers of an issuer have the same.
    Fixed(String),
    /// It stands in a claim.
    Claim {
        /// The claim; one that begins with `/` is a JSON Pointer. Default: `tenant`.
        name: String,
        /// The tenants that the claim may name; the tokens of all others are refused.
        /// Default: every tenant.
        tenants: Vec<TenantPattern>,
    },
}

impl TenantFrom {
    /// Whether a token may be of this tenant.
    #[must_use]
    pub fn may_be(&self, tenant: &str) -> bool {
        match self {
            Self::Fixed(fixed) => fixed == tenant,
            Self::Claim { tenants, .. } => tenants.iter().any(|pattern| pattern.matches(tenant)),
        }
    }
}

/// A client certificate that is known by one of its names. The connection has made sure
/// that it is authentic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateConfig {
    /// Which name is compared.
    pub name: CertificateName,
    /// The tenant of its holder. Required.
    pub tenant: String,
    /// The roles of its holder. Default: none.
    pub roles: Vec<String>,
}

/// A name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// The subject, as RFC 4514 writes it: `CN=billing,O=Example`.
    Subject(String),
    /// A DNS name among the subject's alternative names.
    Dns(String),
    /// A URI among them, such as a SPIFFE id.
    Uri(String),
}

const LEEWAY: Duration = Duration::from_secs(30);
const MAX_LEEWAY: Duration = Duration::from_secs(300);
const AUTH: &str = "\"none\", or a table with `api_keys`, `jwt` or `certificate`";
/// A tenant.
pub(super) fn tenant() -> impl FnOnce(&Value) -> Result<String, String> {
    text(TENANT, |text| is_tenant(text).then(|| text.to_owned()))
}

/// Reads who may call. Without a word nobody is let in by accident: it is a mistake.
pub(super) fn read(reader: &mut Reader) -> Option<AuthConfig> {
    let Some(Found { place, value }) = reader.take("auth") else {
        reader.missing("auth", AUTH);
        return None;
    };
    match value {
        Value::String(word) if word == "none" => Some(AuthConfig::None),
        Value::Table(table) => callers(reader, table, &place).map(AuthConfig::Callers),
        // In a variable the table stands as TOML.
        Value::String(text) if text.trim_start().starts_with('{') => {
            match toml::from_str::<Table>(&format!("auth = {text}"))
                .map(|mut all| all.remove("auth"))
            {
                Ok(Some(Value::Table(table))) => {
                    callers(reader, table, &place).map(AuthConfig::Callers)
                }
                _ => {
                    reader.complain(place, "not an inline table of TOML", AUTH);
                    None
                }
            }
        }
        other => {
            reader.complain(place, found(&other), AUTH);
            None
        }
    }
}

fn callers(reader: &mut Reader, table: Table, place: &str) -> Option<CallersConfig> {
    let mut inner = Reader::nested(table, place);
    let api_keys = inner.read("api_keys", text("the path of a file", path));
    let jwt = tables(&mut inner, "jwt", issuer);
    let certificates = tables(&mut inner, "certificate", |inner, _| certificate(inner));
    let grants = tables(&mut inner, "grant", |inner, _| grant(inner));
    if api_keys.is_none() && jwt.is_empty() && certificates.is_empty() && !inner.is_wrong() {
        inner.complain(place, "nobody could call", AUTH);
    }
    let right = !inner.is_wrong();
    reader.absorb(inner);
    right.then_some(CallersConfig { api_keys, jwt, certificates, grants })
}

fn issuer(reader: &mut Reader, before: &[IssuerConfig]) -> Option<IssuerConfig> {
    let issuer = required(reader, "issuer", text("the `iss` of its tokens", filled));
    if before.iter().any(|other| Some(&other.issuer) == issuer.as_ref()) {
        let problem = "the issuer is there already";
        reader.complain(reader.at("issuer"), problem, "one table for each issuer");
    }
    let client_ids = reader.read("client_ids", texts("the `client_id`s of Amazon Cognito's apps"));
    let expected = "the `aud` of tokens for this gateway, or `client_ids` instead";
    let audiences = match reader.has("audience") || client_ids.is_none() {
        true => required(reader, "audience", texts(expected)),
        false => Some(Vec::new()),
    };
    let jwks = required(
        reader,
        "jwks",
        text("an https URL, or the path of a file; http is for this machine only", jwks),
    );
    let algorithms = reader.read("algorithms", algorithms);
    let leeway = reader.read("leeway", time(Duration::ZERO..=MAX_LEEWAY));
    let claim = reader.read("tenant_claim", text("the name of a claim", filled));
    let patterns = reader.read("tenants", tenants::patterns);
    let fixed = reader.read("tenant", tenant());
    for (key, given) in [("tenant_claim", claim.is_some()), ("tenants", patterns.is_some())] {
        if given && fixed.is_some() {
            let problem = "there is a tenant for all its callers";
            reader.complain(reader.at(key), problem, "only one of the two");
        }
    }
    let roles_claim = reader.read("roles_claim", text("the name of a claim", filled));
    Some(IssuerConfig {
        issuer: issuer?,
        audiences: audiences?,
        client_ids: client_ids.unwrap_or_default(),
        jwks: jwks?,
        algorithms: algorithms.unwrap_or_else(|| vec![Algorithm::RS256, Algorithm::ES256]),
        leeway: leeway.unwrap_or(LEEWAY),
        tenant: match fixed {
            Some(tenant) => TenantFrom::Fixed(tenant),
            None => TenantFrom::Claim {
                name: claim.unwrap_or_else(|| "tenant".to_owned()),
                tenants: patterns.unwrap_or_else(|| vec![TenantPattern::every()]),
            },
        },
        roles_claim: roles_claim.unwrap_or_else(|| "roles".to_owned()),
    })
}

fn certificate(reader: &mut Reader) -> Option<CertificateConfig> {
    let names = [
        reader
            .read("subject", text("a subject, such as \"CN=billing,O=Example\"", filled))
            .map(CertificateName::Subject),
        reader.read("dns", text("a DNS name", filled)).map(CertificateName::Dns),
        reader.read("uri", text("a URI", filled)).map(CertificateName::Uri),
    ];
    let mut names = names.into_iter().flatten();
    let name = names.next();
    if name.is_none() {
        reader.missing("subject", "`subject`, `dns` or `uri`");
    } else if names.next().is_some() {
        reader.complain(reader.at("subject"), "there are several names", "only one of the three");
    }
    let tenant = required(reader, "tenant", tenant());
    let roles = reader.read("roles", texts("names of roles")).unwrap_or_default();
    Some(CertificateConfig { name: name?, tenant: tenant?, roles })
}

fn grant(reader: &mut Reader) -> Option<Grant> {
    let roles = reader.read("roles", texts("names of roles")).unwrap_or_default();
    let pattern = "\"/package.Service/Method\", \"/package.Service/*\" or \"*\", or a list of them";
    let methods = reader.read("methods", |value| {
        let list = texts(pattern)(value)?;
        list.iter()
            .map(|text| text.parse())
            .collect::<Result<Vec<MethodPattern>, _>>()
            .map_err(|_| pattern.to_owned())
    });
    let names = Verb::ALL.map(|verb| (verb.name(), verb));
    let verbs = required(reader, "verbs", |value| {
        let list = value.as_array().filter(|list| !list.is_empty());
        let list = list.ok_or("a list of submit, read, watch, cancel and admin")?;
        list.iter().map(|name| word(&names)(name)).collect::<Result<Vec<Verb>, String>>()
    });
    Some(Grant {
        roles,
        methods: methods.unwrap_or_else(|| vec![MethodPattern::All]),
        verbs: verbs?,
    })
}

fn required<T>(
    reader: &mut Reader,
    path: &'static str,
    parse: impl FnOnce(&Value) -> Result<T, String>,
) -> Option<T> {
    if !reader.has(path) {
        // What would be right says the parser.
        let expected = parse(&Value::Boolean(false)).err().unwrap_or_default();
        reader.missing(path, &expected);
        return None;
    }
    reader.read(path, parse)
}

/// One text, or a list of at least one.
fn texts(expected: &str) -> impl Fn(&Value) -> Result<Vec<String>, String> {
    move |value| {
        let list = match value {
            Value::String(_) => std::slice::from_ref(value),
            Value::Array(list) => list.as_slice(),
            _ => &[],
        };
        let texts: Option<Vec<String>> =
            list.iter().map(|text| text.as_str().and_then(filled)).collect();
        texts.filter(|texts| !texts.is_empty()).ok_or_else(|| expected.to_owned())
    }
}

fn algorithms(value: &Value) -> Result<Vec<Algorithm>, String> {
    let expected =
        "a list of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA (or Ed25519)";
    let list = texts(expected)(value)?;
    let one = |name: &String| {
        algorithm(name).ok_or_else(|| match missing(name) {
            Some(name) => format!("{expected}; {name} cannot be checked here: {WAY_OUT}"),
            None => expected.to_owned(),
        })
    };
    list.iter().map(one).collect()
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| text.into())
}

fn jwks(text: &str) -> Option<Jwks> {
    if !text.contains("://") {
        return path(text).map(Jwks::File);
    }
    let url: Uri = text.parse().ok()?;
    let host = url.host()?.trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    let right = url.scheme_str() == Some("https") || (url.scheme_str() == Some("http") && here);
    (right && has_right_port(url.authority()?)).then_some(Jwks::Url(url))
}

#[cfg(test)]
mod tests;

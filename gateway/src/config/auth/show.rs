//! Who may call, as text. None of it is secret.

use super::{AuthConfig, CertificateName, IssuerConfig, Jwks, TenantFrom};
use crate::auth::Grant;
use crate::config::format_duration;
use crate::config::show::{line, list, quoted};
use std::fmt;

pub(in crate::config) fn show(f: &mut fmt::Formatter<'_>, auth: &AuthConfig) -> fmt::Result {
    // As a variable it may stand before tables, as the text of one.
    let AuthConfig::Callers(callers) = auth else { return Ok(()) };
    writeln!(f, "\n[auth]")?;
    if let Some(path) = &callers.api_keys {
        line(f, "api_keys", quoted(path.display()))?;
    }
    callers.jwt.iter().try_for_each(|issuer| show_issuer(f, issuer))?;
    for certificate in &callers.certificates {
        writeln!(f, "[[auth.certificate]]")?;
        match &certificate.name {
            CertificateName::Subject(name) => line(f, "subject", quoted(name))?,
            CertificateName::Dns(name) => line(f, "dns", quoted(name))?,
            CertificateName::Uri(name) => line(f, "uri", quoted(name))?,
        }
        line(f, "tenant", quoted(&certificate.tenant))?;
        if !certificate.roles.is_empty() {
            line(f, "roles", list(&certificate.roles))?;
        }
    }
    callers.grants.iter().try_for_each(|grant| show_grant(f, grant))
}

fn show_issuer(f: &mut fmt::Formatter<'_>, issuer: &IssuerConfig) -> fmt::Result {
    writeln!(f, "[[auth.jwt]]")?;
    line(f, "issuer", quoted(&issuer.issuer))?;
    for (name, values) in [("audience", &issuer.audiences), ("client_ids", &issuer.client_ids)] {
        if !values.is_empty() {
            line(f, name, list(values))?;
        }
    }
    match &issuer.jwks {
        Jwks::Url(url) => line(f, "jwks", quoted(url))?,
        Jwks::File(path) => line(f, "jwks", quoted(path.display()))?,
    }
    let names: Vec<String> = issuer.algorithms.iter().map(|name| format!("{name:?}")).collect();
    line(f, "algorithms", list(&names))?;
    line(f, "leeway", quoted(format_duration(issuer.leeway)))?;
    match &issuer.tenant {
        TenantFrom::Fixed(tenant) => line(f, "tenant", quoted(tenant))?,
        TenantFrom::Claim { name, tenants } => {
            line(f, "tenant_claim", quoted(name))?;
            line(f, "tenants", list(tenants))?;
        }
    }
    line(f, "roles_claim", quoted(&issuer.roles_claim))
}

fn show_grant(f: &mut fmt::Formatter<'_>, grant: &Grant) -> fmt::Result {
    writeln!(f, "[[auth.grant]]")?;
    if !grant.roles.is_empty() {
        line(f, "roles", list(&grant.roles))?;
    }
    line(f, "methods", list(&grant.methods))?;
    let verbs: Vec<&str> = grant.verbs.iter().map(|verb| verb.name()).collect();
    line(f, "verbs", list(&verbs))
}

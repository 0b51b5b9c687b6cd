//! Callers who are known by the certificate of their connection.

use super::refusal::{self, Refused};
use super::{Grant, Rights};
use crate::config::{CertificateConfig, CertificateName};
use crate::identity::Identity;
use crate::listener::{ClientCertificate, Peer};
use http::Extensions;

/// The caller that the certificate of a connection names: the first of the configured
/// ones that it has the name of.
pub(super) fn identify(
    extensions: &Extensions,
    known: &[CertificateConfig],
    grants: &[Grant],
) -> Result<Identity, Refused> {
    let certificate = extensions.get::<Peer>().and_then(|peer| peer.certificate.as_ref());
    // Where nobody is known by it, a certificate is none of the credentials that are asked for.
    let Some(certificate) = certificate.filter(|_| !known.is_empty()) else {
        return Err(refusal::missing());
    };
    let found = known.iter().find(|known| has(certificate, &known.name));
    let found = found.ok_or_else(|| {
        let name = format!("certificate:{}", certificate.subject);
        refusal::invalid("the client certificate is not known").claiming(name)
    })?;
    let name = match &found.name {
        CertificateName::Subject(name)
        | CertificateName::Dns(name)
        | CertificateName::Uri(name) => name,
    };
    let rights = Rights::of(&found.roles, grants);
    Ok(Identity::new(found.tenant.as_str(), format!("certificate:{name}"), rights))
}

fn has(certificate: &ClientCertificate, name: &CertificateName) -> bool {
    match name {
        CertificateName::Subject(name) => certificate.subject == *name,
        CertificateName::Dns(name) => {
            certificate.dns_names.iter().any(|dns| dns.eq_ignore_ascii_case(name))
        }
        CertificateName::Uri(name) => certificate.uris.contains(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use queuebridge_proto::error::reason;
    use std::sync::Arc;
    use tonic_types::StatusExt;

    fn known(name: CertificateName) -> CertificateConfig {
        CertificateConfig { name, tenant: "shop".to_owned(), roles: Vec::new() }
    }

    fn found(certificate: Option<ClientCertificate>, known: &[CertificateConfig]) -> String {
        let address = "127.0.0.1:1".parse().unwrap();
        let mut extensions = Extensions::new();
        extensions.insert(Peer {
            address,
            certificate: certificate.map(Arc::new),
            unknown: Default::default(),
        });
        match identify(&extensions, known, &[]) {
            Ok(identity) => identity.subject.to_string(),
            Err(refused) => {
                let details = refused.status.get_error_details();
                assert_eq!(details.error_info().unwrap().reason, refused.reason);
                refused.reason.to_owned()
            }
        }
    }

    fn certificate() -> ClientCertificate {
        ClientCertificate {
            subject: "CN=billing,O=Example".to_owned(),
            dns_names: vec!["Billing.example.com".to_owned()],
            uris: vec!["spiffe://example/billing".to_owned()],
            emails: Vec::new(),
            chain: Vec::new(),
        }
    }

    #[test]
    fn one_name_of_the_right_kind_is_enough_and_no_other_will_do() {
        let subject = |name: &str| known(CertificateName::Subject(name.to_owned()));
        let of = |known| found(Some(certificate()), &[known]);
        assert_eq!(of(subject("CN=billing,O=Example")), "certificate:CN=billing,O=Example");
        let dns = known(CertificateName::Dns("billing.example.com".to_owned()));
        assert_eq!(of(dns), "certificate:billing.example.com");
        let uri = known(CertificateName::Uri("spiffe://example/billing".to_owned()));
        assert_eq!(of(uri), "certificate:spiffe://example/billing");
        let unknown = reason::CREDENTIALS_INVALID;
        assert_eq!(of(subject("CN=billing")), unknown);
        assert_eq!(of(subject("spiffe://example/billing")), unknown);
        assert_eq!(of(known(CertificateName::Dns("example.com".to_owned()))), unknown);
    }

    #[test]
    fn without_one_credentials_are_missing() {
        let subject = known(CertificateName::Subject("CN=billing,O=Example".to_owned()));
        assert_eq!(found(None, &[subject]), reason::CREDENTIALS_MISSING);
        assert_eq!(found(Some(certificate()), &[]), reason::CREDENTIALS_MISSING);
    }
}

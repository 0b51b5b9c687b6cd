//! Who is at the other end of a connection.

use super::unknown::UnknownCalls;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::Arc;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Who is at the other end of a connection: an extension of every request that came
/// over it, whatever its protocol.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The address that connected; behind a proxy that of the proxy.
    pub address: SocketAddr,
    /// The certificate that the peer has proved to hold, and that a configured authority
    /// has signed. None without TLS, without `tls.client_ca`, and where clients may come
    /// without one.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// The calls of the connection whose callers are not known.
    pub unknown: UnknownCalls,
}

/// A verified certificate of a client. When it was verified, at the handshake, it was valid;
/// the connection may have outlived that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject's distinguished name as RFC 4514 writes it, the most specific part first:
    /// `CN=orders,OU=shop,O=Example`. Special characters are escaped, so that no value can
    /// look like another attribute. Empty when there is none, as in SPIFFE.
    pub subject: String,
    /// The subject's alternative names of the kind DNS, as they stand there.
    pub dns_names: Vec<String>,
    /// Those of the kind URI, such as `spiffe://example.com/orders`.
    pub uris: Vec<String>,
    /// Those of the kind email.
    pub emails: Vec<String>,
    /// The chain as the client has sent it, its own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
}

impl ClientCertificate {
    /// Reads the names in the first certificate of a chain.
    ///
    /// # Errors
    /// What cannot be read, in words.
    pub fn read(chain: Vec<CertificateDer<'static>>) -> Result<Self, String> {
        let first = chain.first().ok_or("there is no certificate")?;
        let certificate = Certificate::from_der(first).map_err(|error| error.to_string())?;
        let certificate = certificate.tbs_certificate();
        let names = certificate.get_extension::<SubjectAltName>();
        let names = names.map_err(|error| error.to_string())?;
        let mut read = Self {
            subject: certificate.subject().to_string(),
            dns_names: Vec::new(),
            uris: Vec::new(),
            emails: Vec::new(),
            chain: Vec::new(),
        };
        for name in names.into_iter().flat_map(|(_, names)| names.0) {
            match name {
                GeneralName::DnsName(name) => read.dns_names.push(name.to_string()),
                GeneralName::UniformResourceIdentifier(uri) => read.uris.push(uri.to_string()),
                GeneralName::Rfc822Name(email) => read.emails.push(email.to_string()),
                _ => {}
            }
        }
        Ok(Self { chain, ..read })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    fn read(params: &CertificateParams) -> ClientCertificate {
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        ClientCertificate::read(vec![certificate.der().clone()]).unwrap()
    }

    #[test]
    fn names_are_read_and_kept_apart_by_their_kind() {
        let mut params = CertificateParams::new(["orders.example.com".to_owned()]).unwrap();
        let uri = "spiffe://example.com/orders";
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        let email = "orders@example.com";
        params.subject_alt_names.push(SanType::Rfc822Name(email.try_into().unwrap()));
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, "orders");
        let read = read(&params);
        assert_eq!(read.subject, "CN=orders,O=Example");
        assert_eq!(read.dns_names, ["orders.example.com"]);
        assert_eq!((read.uris, read.emails), (vec![uri.to_owned()], vec![email.to_owned()]));
        assert_eq!(read.chain.len(), 1);
    }

    #[test]
    fn no_value_can_pass_for_another_attribute() {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "a,O=Example\0+");
        assert_eq!(read(&params).subject, "CN=a\\,O=Example\\00\\+");
        params.distinguished_name = DistinguishedName::new();
        assert_eq!(read(&params).subject, "");
    }

    #[test]
    fn what_is_no_certificate_is_an_error() {
        assert!(ClientCertificate::read(Vec::new()).is_err());
        assert!(ClientCertificate::read(vec![vec![0x30, 0x80].into()]).is_err());
    }
}

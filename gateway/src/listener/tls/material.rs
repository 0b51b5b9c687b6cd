//! From PEM to what the TLS library works with.

use super::curves;
use queuebridge_store::Clock;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};
use std::sync::Arc;
use std::time::Duration;
use x509_cert::Certificate;
use x509_cert::der::Decode;

pub(crate) const CHAIN: &str = "PEM certificates: the server's own, then those that lead to \
                                its authority";
pub(crate) const KEY: &str = "one PEM private key without a password: PKCS#8, SEC1 or RSA";
pub(crate) const BELONGS: &str = "the key of the first certificate in tls.certificate";
pub(crate) const ROOTS: &str = "PEM certificates of the authorities that sign clients";

/// What the port speaks: native gRPC and everything else over HTTP/2, and gRPC-Web, Connect
/// and JSON over HTTP/1.1.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

pub(crate) fn chain(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let chain = chain.map_err(|error| readable(&error, "certificate"))?;
    if chain.is_empty() {
        return Err(readable(&pem::Error::NoItemsFound, "certificate"));
    }
    Ok(chain)
}

pub(crate) fn key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let key = PrivateKeyDer::from_pem_slice(bytes);
    curves::usable(key.map_err(|error| readable(&error, "private key"))?)
}

pub(crate) fn roots(bytes: &[u8]) -> Result<RootCertStore, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let certificates = certificates.map_err(|error| readable(&error, "certificate"))?;
    let mut roots = RootCertStore::empty();
    let mut useless = None;
    for (index, certificate) in certificates.into_iter().enumerate() {
        if let Some(problem) = curves::problem_of_authority(&certificate) {
            let problem = format!("its certificate {}: {problem}", index + 1);
            tracing::warn!(%problem, "an authority is left out");
            useless.get_or_insert(problem);
            continue;
        }
        curves::warn_of_signature(&certificate);
        let added = roots.add(certificate);
        added.map_err(|error| format!("its certificate {}: {error}", index + 1))?;
    }
    if roots.is_empty() {
        if let Some(problem) = useless {
            return Err(problem);
        }
        return Err(readable(&pem::Error::NoItemsFound, "certificate"));
    }
    Ok(roots)
}

/// The certificate with its key, if it is its key.
pub(crate) fn pair(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, String> {
    CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| error.to_string())
}

pub(crate) fn server_config(
    pair: CertifiedKey,
    clients: Option<RootCertStore>,
    required: bool,
) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let verified = clients.is_some();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier =
                if required { verifier } else { verifier.allow_unauthenticated() }.build();
            builder.with_client_cert_verifier(verifier.map_err(|error| error.to_string())?)
        }
    };
    warn_of_its_times(&pair.cert[0]);
    let resolver = Arc::new(SingleCertAndKey::from(pair));
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    if verified {
        // A resumed session is not verified again: one could go on after its certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

fn readable(error: &pem::Error, what: &str) -> String {
    match error {
        pem::Error::NoItemsFound => format!("there is no {what} in it"),
        other => format!("it is not PEM: {other:?}"),
    }
}

/// Callers would refuse it, and say so; that is no reason to serve nobody.
fn warn_of_its_times(certificate: &CertificateDer<'_>) {
    // What cannot be read is reported when the key is compared with it.
    let Ok(certificate) = Certificate::from_der(certificate) else { return };
    let validity = certificate.tbs_certificate().validity();
    let (begin, end) = (validity.not_before, validity.not_after);
    let now = Duration::from_millis(Clock::system().now().0);
    if now > end.to_unix_duration() {
        tracing::warn!(%end, "the certificate of the port has expired");
    } else if now < begin.to_unix_duration() {
        tracing::warn!(%begin, "the certificate of the port is not valid yet");
    }
}

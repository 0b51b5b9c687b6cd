//! The exporter of spans, as the configuration says.

use super::http::Client;
use crate::config::{OtlpProtocol, TracesConfig};
use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry_otlp::{
    Compression, ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
    WithTonicConfig,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use tonic::transport::{Channel, Endpoint};

/// Traces cannot be exported as the environment says.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The collector's address or another setting of the exporter is wrong.
    #[error(transparent)]
    Exporter(#[from] ExporterBuildError),
    /// The collector's address is none of gRPC.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT: expected a URL such as http://localhost:4317: {0}")]
    Endpoint(#[from] tonic::transport::Error),
    /// The system's certificates cannot be read.
    #[error("the certificates cannot be read: {0}")]
    System(std::io::Error),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The certificates that the collector is to be checked by cannot be read.
    #[error("OTEL_EXPORTER_OTLP_CERTIFICATE: {path}: {what}; give a file of certificates (PEM)")]
    Certificate {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
}

pub(super) fn exporter(config: &TracesConfig) -> Result<SpanExporter, TracesError> {
    let roots = config.certificate.as_deref().map(Roots::read).transpose()?;
    match config.protocol {
        OtlpProtocol::Grpc => grpc(config, roots),
        OtlpProtocol::HttpProtobuf => http(config, roots, Protocol::HttpBinary),
        OtlpProtocol::HttpJson => http(config, roots, Protocol::HttpJson),
    }
}

fn grpc(config: &TracesConfig, roots: Option<Roots>) -> Result<SpanExporter, TracesError> {
    let mut exporter = SpanExporter::builder()
        .with_tonic()
        .with_channel(channel(config, roots)?)
        .with_timeout(config.timeout);
    if config.gzip {
        exporter = exporter.with_compression(Compression::Gzip);
    }
    Ok(exporter.build()?)
}

/// TLS is the connector's: with tonic's own, which is a feature, no other connector of the
/// process could open a connection over TLS.
fn channel(config: &TracesConfig, roots: Option<Roots>) -> Result<Channel, TracesError> {
    let endpoint = Endpoint::from_shared(config.endpoint.clone())?.timeout(config.timeout);
    let provider = rustls::crypto::ring::default_provider();
    let builder = HttpsConnectorBuilder::new();
    // Plain text needs no certificates, and the system may have none.
    let plain = endpoint.uri().scheme_str() == Some("http");
    let store = roots.map(|roots| roots.store).or(plain.then(RootCertStore::empty));
    let builder = match store {
        Some(store) => {
            let tls = ClientConfig::builder_with_provider(Arc::new(provider));
            let tls = tls.with_safe_default_protocol_versions()?.with_root_certificates(store);
            builder.with_tls_config(tls.with_no_client_auth())
        }
        None => builder.with_provider_and_native_roots(provider).map_err(TracesError::System)?,
    };
    let connector = builder.https_or_http().enable_http2().build();
    Ok(endpoint.connect_with_connector_lazy(connector))
}

fn http(
    config: &TracesConfig,
    roots: Option<Roots>,
    protocol: Protocol,
) -> Result<SpanExporter, TracesError> {
    let client = Client::new(config.timeout, roots.map(|roots| roots.pem));
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(protocol)
        .with_timeout(config.timeout);
    if config.gzip {
        exporter = exporter.with_compression(Compression::Gzip);
    }
    Ok(exporter.build()?)
}

/// The certificates that a collector is checked by.
#[derive(Debug)]
struct Roots {
    store: RootCertStore,
    /// The file, of which all certificates have been read.
    pem: Vec<u8>,
}

impl Roots {
    fn read(path: &str) -> Result<Self, TracesError> {
        let wrong = |what: String| TracesError::Certificate { path: path.to_owned(), what };
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            store.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
        if store.is_empty() {
            return Err(wrong("no certificate in it".to_owned()));
        }
        Ok(Self { store, pem })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_cannot_be_read_is_named() {
        let dir = std::env::temp_dir();
        let missing = dir.join("queuebridge-no-such-file.pem");
        let file = dir.join(format!("queuebridge-{}.pem", uuid::Uuid::now_v7()));
        std::fs::write(&file, "no certificate").unwrap();
        for path in [&missing, &file] {
            let path = path.to_str().unwrap();
            let error = Roots::read(path).unwrap_err().to_string();
            assert!(error.contains(path), "{error}");
        }
        std::fs::remove_file(file).unwrap();
    }
}

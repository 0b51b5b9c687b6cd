//! Whom a client of TLS trusts, and how it shows who it is.

use crate::listener::tls::TlsMistake;
use crate::listener::tls::material;
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files in PEM for one's own side of a connection with TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trust {
    /// The authorities that sign servers. Default: those of the system; `SSL_CERT_FILE`
    /// names others.
    pub ca: Option<PathBuf>,
    /// The certificate that is shown, with those that lead to its authority, and its key.
    /// Default: none.
    pub own: Option<(PathBuf, PathBuf)>,
}

impl Trust {
    /// What connections of HTTP/2 are made with. Reads the files, and blocks while it does.
    ///
    /// # Errors
    /// Every mistake in the files.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, Vec<TlsMistake>> {
        let mut mistakes = Vec::new();
        let roots = match &self.ca {
            None => Some(roots_of_system()),
            Some(path) => read("ca", path, material::roots, material::ROOTS, &mut mistakes),
        };
        let own = self.own.as_ref().map(|(certificate, key)| {
            let chain = material::chain;
            let chain = read("certificate", certificate, chain, material::CHAIN, &mut mistakes);
            chain.zip(read("key", key, material::key, material::KEY, &mut mistakes)).zip(Some(key))
        });
        let (Some(roots), true) = (roots, mistakes.is_empty()) else { return Err(mistakes) };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = versions
            .map_err(|error| mistake("ca", Path::new(""), error.to_string(), material::ROOTS))?
            .with_root_certificates(roots);
        let mut config = match own.flatten() {
            None => builder.with_no_client_auth(),
            Some(((chain, key), path)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| mistake("key", path, error.to_string(), material::BELONGS))?,
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

fn read<T>(
    setting: &'static str,
    path: &Path,
    parse: fn(&[u8]) -> Result<T, String>,
    expected: &'static str,
    mistakes: &mut Vec<TlsMistake>,
) -> Option<T> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string());
    let parsed = bytes.and_then(|bytes| parse(&bytes));
    parsed.map_err(|problem| mistakes.extend(mistake(setting, path, problem, expected))).ok()
}

fn mistake(
    setting: &'static str,
    path: &Path,
    problem: String,
    expected: &'static str,
) -> Vec<TlsMistake> {
    vec![TlsMistake { setting, path: path.to_owned(), problem, expected }]
}

fn roots_of_system() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a root certificate of the system cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    roots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::testing::{Authority, Files};

    #[test]
    fn every_file_is_judged() {
        let (authority, other) = (Authority::new("a"), Authority::new("b"));
        let files = Files::with(&authority.client("c"), Some(&authority));
        let own = Some((files.path("server.pem"), files.path("server.key")));
        let trust = Trust { ca: Some(files.path("clients.pem")), own };
        assert!(trust.client_config().is_ok());
        let settings = || {
            let mistakes = trust.client_config().unwrap_err();
            mistakes.iter().map(|mistake| mistake.setting).collect::<Vec<_>>()
        };
        files.write("server.key", &other.client("c").key);
        assert_eq!(settings(), ["key"], "it belongs to another certificate");
        for name in ["clients.pem", "server.pem", "server.key"] {
            files.write(name, "no PEM");
        }
        assert_eq!(settings(), ["ca", "certificate", "key"]);
    }
}

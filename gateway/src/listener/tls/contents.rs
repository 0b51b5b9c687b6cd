//! What stands in the files.

use super::material;
use crate::config::{ClientCertificates, TlsConfig};
use rustls::ServerConfig;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is wrong with one of the files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct TlsMistake {
    /// The key of the configuration that names it.
    pub setting: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
    /// What it should be.
    pub expected: &'static str,
}

impl fmt::Display for TlsMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, path, problem, expected } = self;
        write!(f, "{setting}: {}: {problem}; expected {expected}", path.display())
    }
}

/// Reads the files and says what is wrong with them.
///
/// # Errors
/// Every mistake.
pub fn check(config: &TlsConfig) -> Result<(), Vec<TlsMistake>> {
    Contents::read(config).server_config(config).map(drop)
}

/// The bytes of the files, or why there are none. Equal contents mean the same, so that
/// what was found broken is not reported again.
#[derive(PartialEq, Eq)]
pub(super) struct Contents {
    certificate: File,
    key: File,
    client_ca: Option<File>,
}

type File = Result<Vec<u8>, String>;

impl Contents {
    /// Blocks while it reads.
    pub(super) fn read(config: &TlsConfig) -> Self {
        let read = |path: &Path| std::fs::read(path).map_err(|error| error.to_string());
        Self {
            certificate: read(&config.certificate),
            key: read(&config.key),
            client_ca: config.client_ca.as_deref().map(read),
        }
    }

    /// What handshakes are made with. A certificate that is not valid now is only warned of.
    pub(super) fn server_config(
        &self,
        config: &TlsConfig,
    ) -> Result<Arc<ServerConfig>, Vec<TlsMistake>> {
        let mut mistakes = Vec::new();
        let mut complain = |setting, path: &Path, problem, expected| {
            let path = path.to_owned();
            mistakes.push(TlsMistake { setting, path, problem, expected });
        };
        let chain = parsed(&self.certificate, material::chain)
            .map_err(|problem| {
                complain("tls.certificate", &config.certificate, problem, material::CHAIN);
            })
            .ok();
        let key = parsed(&self.key, material::key)
            .map_err(|problem| complain("tls.key", &config.key, problem, material::KEY))
            .ok();
        let clients = self.client_ca.as_ref().zip(config.client_ca.as_deref());
        let roots = clients.map(|(file, path)| {
            parsed(file, material::roots)
                .map_err(|problem| complain("tls.client_ca", path, problem, material::ROOTS))
                .ok()
        });
        let pair = chain.zip(key).and_then(|(chain, key)| {
            let pair = material::pair(chain, key);
            pair.map_err(|problem| complain("tls.key", &config.key, problem, material::BELONGS))
                .ok()
        });
        let required = config.client_certificates == ClientCertificates::Required;
        let built = match (pair, roots) {
            (Some(pair), None) => Some(material::server_config(pair, None, required)),
            (Some(pair), Some(Some(roots))) => {
                Some(material::server_config(pair, Some(roots), required))
            }
            _ => None,
        };
        let built = built.and_then(|built| {
            let failed = |problem| {
                complain("tls.certificate", &config.certificate, problem, material::CHAIN);
            };
            built.map_err(failed).ok()
        });
        built.filter(|_| mistakes.is_empty()).ok_or(mistakes)
    }
}

fn parsed<T>(file: &File, parse: fn(&[u8]) -> Result<T, String>) -> Result<T, String> {
    file.as_deref().map_err(Clone::clone).and_then(parse)
}

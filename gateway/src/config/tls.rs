//! What the configuration says about TLS at the port.

use super::reader::Reader;
use super::values::{text, word};
use crate::listener::tls;
use std::fmt;
use std::path::PathBuf;
use toml::Value;

/// The certificates of the port: files in PEM, read at the start, at every SIGHUP and
/// whenever they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The server's certificate, followed by those that lead to its authority.
    pub certificate: PathBuf,
    /// Its key: PKCS#8, SEC1 or RSA, without a password.
    pub key: PathBuf,
    /// The authorities that sign clients. Default: none; then no client is asked for a
    /// certificate.
    pub client_ca: Option<PathBuf>,
    /// Whether clients need a certificate of `client_ca`. Default: they do.
    pub client_certificates: ClientCertificates,
}

/// What is asked of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// No handshake without a certificate.
    Required,
    /// A client may come without one, but not with a wrong one.
    Optional,
}

impl ClientCertificates {
    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
        }
    }
}

/// Reads the section, and the files once to see that they can be used.
pub(super) fn read(reader: &mut Reader) -> Option<TlsConfig> {
    let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
    let mut file = |name| reader.read(name, self::text("the path of a PEM file", path));
    let (certificate, key) = (file("tls.certificate"), file("tls.key"));
    let client_ca = file("tls.client_ca");
    let all = [ClientCertificates::Required, ClientCertificates::Optional];
    let words = all.map(|each| (each.name(), each));
    let clients = reader.read("tls.client_certificates", word(&words));
    if clients.is_some() && client_ca.is_none() {
        let problem = "there is no tls.client_ca to verify them with";
        let place = reader.at("tls.client_certificates");
        reader.complain(place, problem, "no such key, or tls.client_ca");
    }
    let (certificate, key) = match (certificate, key, &client_ca) {
        (Some(certificate), Some(key), _) => (certificate, key),
        (None, None, None) => return None,
        (certificate, key, _) => {
            for (name, path) in [("tls.certificate", certificate), ("tls.key", key)] {
                if path.is_none() {
                    reader.missing(name, "the path of a PEM file, because TLS is wanted");
                }
            }
            return None;
        }
    };
    let client_certificates = clients.unwrap_or(ClientCertificates::Required);
    let config = TlsConfig { certificate, key, client_ca, client_certificates };
    for mistake in tls::check(&config).err().unwrap_or_default() {
        let problem = format!("{}: {}", mistake.path.display(), mistake.problem);
        reader.complain(mistake.setting, problem, mistake.expected);
    }
    Some(config)
}

/// The section as it stands in the configuration.
impl fmt::Display for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: String| Value::String(text).to_string();
        writeln!(f, "\n[tls]")?;
        writeln!(f, "certificate = {}", quoted(self.certificate.display().to_string()))?;
        writeln!(f, "key = {}", quoted(self.key.display().to_string()))?;
        let Some(client_ca) = &self.client_ca else { return Ok(()) };
        writeln!(f, "client_ca = {}", quoted(client_ca.display().to_string()))?;
        writeln!(f, "client_certificates = {}", quoted(self.client_certificates.name().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> String {
        format!("{}/../tests/fixtures/tls/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    fn read(text: &str) -> (Option<TlsConfig>, Vec<String>) {
        let mut reader = Reader::new(toml::from_str(text).unwrap(), []);
        let read = super::read(&mut reader);
        let mistakes = reader.finish().into_iter().map(|m| format!("{}: {}", m.place, m.problem));
        (read, mistakes.collect())
    }

    #[test]
    fn without_the_section_there_is_no_tls_and_with_it_clients_prove_themselves() {
        assert_eq!(read(""), (None, vec![]));
        let (certificate, key) = (fixture("server.pem"), fixture("server.key"));
        let two = format!("tls.certificate = \"{certificate}\"\ntls.key = \"{key}\"");
        let (config, mistakes) = read(&two);
        assert_eq!((config.unwrap().client_ca, mistakes), (None, vec![]));
        let three = format!("{two}\ntls.client_ca = \"{}\"", fixture("ca.pem"));
        let (config, mistakes) = read(&three);
        let config = config.unwrap();
        assert!(mistakes.is_empty(), "{mistakes:?}");
        assert_eq!(config.client_certificates, ClientCertificates::Required);
        let shown = toml::from_str::<toml::Table>(&config.to_string()).unwrap();
        assert_eq!(read(&shown.to_string()).0.unwrap(), config, "what is shown can be read again");
        let (config, _) = read(&format!("{three}\ntls.client_certificates = \"optional\""));
        assert_eq!(config.unwrap().client_certificates, ClientCertificates::Optional);
    }

    #[test]
    fn every_mistake_is_reported_with_its_place() {
        for (text, places) in [
            ("tls.certificate = \"/no/such\"", &["tls.key: missing, also as QB_TLS_KEY"][..]),
            (
                "tls.client_ca = \"/no/such\"",
                &[
                    "tls.certificate: missing, also as QB_TLS_CERTIFICATE",
                    "tls.key: missing, also as QB_TLS_KEY",
                ],
            ),
            (
                "tls.client_certificates = \"optional\"",
                &["tls.client_certificates: there is no tls.client_ca to verify them with"],
            ),
            (
                "tls.certificate = \"/no/such\"\ntls.key = \"/dev/null\"\n\
                 tls.client_ca = \"/dev/null\"",
                &[
                    "tls.certificate: /no/such: No such file or directory (os error 2)",
                    "tls.key: /dev/null: there is no private key in it",
                    "tls.client_ca: /dev/null: there is no certificate in it",
                ],
            ),
        ] {
            assert_eq!(read(text).1, places, "{text}");
        }
    }
}

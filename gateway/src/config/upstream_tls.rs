//! How a route's upstream is trusted, and what it is shown.

use super::reader::Reader;
use super::values::text;
use crate::trust::Trust;
use std::path::PathBuf;
use toml::Value;

/// Reads the files beside the URL, each once to see that it can be used.
pub(super) fn read(reader: &mut Reader, secure: bool) -> Trust {
    let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
    let mut file = |name| reader.read(name, self::text("the path of a PEM file", path));
    let (ca, certificate, key) = (file("ca"), file("certificate"), file("key"));
    for (name, path, other) in [("certificate", &certificate, &key), ("key", &key, &certificate)] {
        if path.is_none() && other.is_some() {
            reader.missing(name, "the path of a PEM file, because there is the other one");
        }
    }
    let trust = Trust { ca, own: certificate.zip(key) };
    if trust == Trust::default() {
        return trust;
    }
    if !secure {
        let problem = "the upstream is not called by TLS";
        reader.complain(reader.at("ca"), problem, "no such key, or https://");
    }
    for mistake in trust.client_config().err().unwrap_or_default() {
        let problem = format!("{}: {}", mistake.path.display(), mistake.problem);
        reader.complain(reader.at(mistake.setting), problem, mistake.expected);
    }
    trust
}

/// The keys as they stand in the configuration, each after a comma.
pub(super) fn show(trust: &Trust) -> String {
    let own = trust
        .own
        .iter()
        .flat_map(|(certificate, key)| [("certificate", certificate), ("key", key)]);
    let files = trust.ca.iter().map(|ca| ("ca", ca)).chain(own);
    files
        .map(|(name, path)| format!(", {name} = {}", Value::String(path.display().to_string())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, secure: bool) -> (String, Vec<String>) {
        let mut reader = Reader::nested(toml::from_str(text).unwrap(), "upstream");
        let shown = show(&super::read(&mut reader, secure));
        let mistakes = reader.finish().into_iter().map(|m| format!("{}: {}", m.place, m.problem));
        (shown, mistakes.collect())
    }

    #[test]
    fn files_are_for_tls_and_certificate_and_key_come_together() {
        let fixture = format!("{}/../tests/fixtures/tls", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(read("", false), (String::new(), vec![]));
        let all = format!(
            "ca = \"{fixture}/ca.pem\"\ncertificate = \"{fixture}/server.pem\"\n\
             key = \"{fixture}/server.key\""
        );
        let shown = format!(", {}", all.replace('\n', ", "));
        assert_eq!(read(&all, true), (shown, vec![]));
        for (text, secure, problem) in [
            (&all[..], false, "upstream.ca: the upstream is not called by TLS"),
            ("key = \"/dev/null\"", true, "upstream.certificate: missing"),
            ("ca = \"/dev/null\"", true, "upstream.ca: /dev/null: there is no certificate in it"),
        ] {
            assert_eq!(read(text, secure).1, [problem]);
        }
    }
}

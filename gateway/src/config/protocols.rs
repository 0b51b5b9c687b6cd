//! What the configuration says about other protocols than native gRPC.

use super::read::names;
use super::reader::Reader;
use super::{AuthConfig, HostPattern};
use crate::descriptors::files;
use http::Uri;
use std::path::PathBuf;

/// The names by which the gateway is called where nobody is asked for credentials.
pub(super) fn hosts(reader: &mut Reader, auth: Option<&AuthConfig>) -> Vec<HostPattern> {
    let hosts: Option<Vec<HostPattern>> = reader.read("hosts", |value| {
        let parsed = names(value)
            .and_then(|list| list.iter().map(|name| name.parse().ok()).collect::<Option<_>>());
        parsed.ok_or_else(|| "a list such as [\"queuebridge\", \"*.internal\"]".to_owned())
    });
    if hosts.is_some() && matches!(auth, Some(AuthConfig::Callers(_))) {
        let problem = "pages have no credentials, whatever host they call";
        reader.complain(reader.at("hosts"), problem, "no such key, or auth = \"none\"");
    }
    hosts.unwrap_or_default()
}

/// The origins whose pages may call.
pub(super) fn origins(reader: &mut Reader) -> Vec<String> {
    let mut origins = Vec::new();
    reader.set("cors.allow_origins", &mut origins, |value| {
        let right = |list: &Vec<String>| list.iter().all(|text| text == "*" || is_origin(text));
        let expected = "a list such as [\"https://shop.example.com\"], or [\"*\"]";
        names(value).filter(right).ok_or_else(|| expected.to_owned())
    });
    origins
}

/// As browsers write it: scheme, host, and the port if it is not the usual one. What
/// differs would never be equal to theirs.
fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let usual = match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return false };
    let plain = !authority.as_str().contains(['@', '*']);
    let port_is_told = usual.is_none() || uri.port_u16() != usual;
    plain && port_is_told && text == format!("{scheme}://{authority}").to_lowercase()
}

/// The files with descriptors, each of which is read once to see that it can be.
pub(super) fn descriptor_files(reader: &mut Reader) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = Vec::new();
    reader.set("descriptors.files", &mut paths, |value| {
        let list = names(value).filter(|list| list.iter().all(|path| !path.is_empty()));
        let paths = list.map(|list| list.into_iter().map(PathBuf::from).collect());
        paths.ok_or_else(|| "a list of paths".to_owned())
    });
    for mistake in files::load(&paths).err().unwrap_or_default() {
        let place = format!("{}[{}]", reader.at("descriptors.files"), mistake.index);
        let problem = format!("{}: {}", mistake.path.display(), mistake.problem);
        reader.complain(place, problem, files::EXPECTED);
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::super::CallersConfig;
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_would_send() {
        let ports = ["http://localhost:8080", "https://a.b-c.com:8443"];
        for good in ["https://a.com", "app://localhost"].into_iter().chain(ports) {
            assert!(is_origin(good), "{good}");
        }
        for wrong in [
            "",
            "a.com",
            "https://",
            "https://a.com/",
            "https://a.com/x",
            "https://A.com",
            "https://a.com:443",
            "https://*.a.com",
            "https://u@a.com",
            "null",
        ] {
            assert!(!is_origin(wrong), "{wrong}");
        }
    }

    fn read(text: &str) -> (Vec<String>, Vec<PathBuf>, Vec<String>) {
        let mut reader = Reader::new(toml::from_str(text).unwrap(), []);
        let (origins, files) = (origins(&mut reader), descriptor_files(&mut reader));
        (origins, files, reader.finish().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn hosts_are_names_and_for_gateways_that_ask_nobody() {
        let read = |text: &str, auth: &AuthConfig| {
            let mut reader = Reader::new(toml::from_str(text).unwrap(), []);
            let hosts = hosts(&mut reader, Some(auth));
            let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
            (hosts, reader.finish().len())
        };
        let good = "hosts = [\"queuebridge\", \"*.internal:80\"]";
        let names = vec!["queuebridge".to_owned(), "*.internal:80".to_owned()];
        assert_eq!(read(good, &AuthConfig::None), (names.clone(), 0));
        assert_eq!(read("", &AuthConfig::None), (Vec::new(), 0));
        for wrong in ["\"*\"", "\"http://a\"", "\"10.0.0.1\"", "1"] {
            let (hosts, mistakes) = read(&format!("hosts = [{wrong}]"), &AuthConfig::None);
            assert_eq!((hosts.len(), mistakes), (0, 1), "{wrong}");
        }
        let callers = AuthConfig::Callers(CallersConfig::default());
        assert_eq!(read(good, &callers), (names, 1));
        assert_eq!(read("", &callers), (Vec::new(), 0));
    }

    #[test]
    fn every_file_is_read_and_every_mistake_reported() {
        let good = std::env::temp_dir().join(format!("queuebridge-{}", uuid::Uuid::new_v4()));
        std::fs::write(&good, queuebridge_proto::FILE_DESCRIPTOR_SET).unwrap();
        let path = good.display();
        let (origins, files, mistakes) = read(&format!(
            "cors.allow_origins = [\"https://a.com\"]\ndescriptors.files = [\"{path}\"]"
        ));
        assert_eq!((origins, files), (vec!["https://a.com".to_owned()], vec![good.clone()]));
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let (_, _, mistakes) = read(&format!(
            "cors.allow_origins = [\"https://a.com/\"]\n\
             descriptors.files = [\"/no/such\", \"{path}\", \"/dev/null\"]"
        ));
        let places: Vec<&str> = mistakes.iter().filter_map(|m| m.split(':').next()).collect();
        let expected = ["cors.allow_origins", "descriptors.files[0]", "descriptors.files[2]"];
        assert_eq!(places, expected, "{mistakes:?}");
        std::fs::remove_file(good).unwrap();
    }
}

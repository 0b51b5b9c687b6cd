//! What the configuration says about callbacks.

use super::read::{is_queue_url, names, yes_or_no};
use super::reader::Reader;
use super::values::text;
use http::Uri;
use queuebridge_proto::v1::Callback;
use queuebridge_proto::v1::callback::Target;
use std::fmt;
use std::str::FromStr;
use toml::Value;

/// Callbacks: where they wait, and what may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackConfig {
    /// The URL of the callback queue, a standard queue. Required.
    pub queue: String,
    /// The URLs that may be called. None: every https URL; the sender keeps off
    /// private networks in any case.
    pub allow: Vec<UrlPattern>,
    /// Whether http URLs may be called too. Default: no.
    pub allow_http: bool,
    /// The URLs of queues and the ARNs of topics that may be told. Default: none.
    pub targets: Vec<String>,
}

/// The section `callbacks`.
pub(super) fn read(reader: &mut Reader) -> Option<CallbackConfig> {
    let standard =
        |text: &str| (is_queue_url(text) && !text.ends_with(".fifo")).then(|| text.to_owned());
    let queue = reader.read("callbacks.queue", text("the URL of a standard SQS queue", standard));
    let mut callbacks = CallbackConfig {
        queue: queue.clone().unwrap_or_default(),
        allow: Vec::new(),
        allow_http: false,
        targets: Vec::new(),
    };
    reader.set("callbacks.allow", &mut callbacks.allow, |value| {
        let pattern = |text: String| text.parse::<UrlPattern>().ok();
        let patterns: Option<Vec<_>> =
            names(value).and_then(|all| all.into_iter().map(pattern).collect());
        patterns.ok_or_else(|| "a list such as [\"https://*.example.com/hooks/*\"]".to_owned())
    });
    reader.set("callbacks.allow_http", &mut callbacks.allow_http, yes_or_no);
    reader.set("callbacks.targets", &mut callbacks.targets, |value| {
        let known = |name: &String| is_queue_url(name) || name.starts_with("arn:");
        let names = names(value).filter(|all| all.iter().all(known));
        names.ok_or_else(|| "a list of queue URLs and topic ARNs".to_owned())
    });
    queue.map(|_| callbacks)
}

/// A table with one of four keys, which are those of the contract.
pub(super) fn told(value: &Value) -> Result<Callback, String> {
    let single = value.as_table().filter(|table| table.len() == 1);
    let (key, value) = single.and_then(|table| table.iter().next()).unzip();
    let text = value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let target = match key.map(String::as_str) {
        Some("webhook_url") => Target::WebhookUrl(text),
        Some("queue_url") => Target::QueueUrl(text),
        Some("topic_arn") => Target::TopicArn(text),
        Some("grpc_url") => Target::GrpcUrl(text),
        _ => return Err("{ webhook_url | queue_url | topic_arn | grpc_url = \"...\" }".to_owned()),
    };
    Ok(Callback { target: Some(target) })
}

/// URLs that begin in the same way: `https://HOST[:PORT][/PATH]`. A host may begin
/// with `*.` for its subdomains, a path may end in `*` for everything below; without
/// a path every path is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlPattern {
    scheme: String,
    host: String,
    port: Option<u16>,
    path: String,
}

impl UrlPattern {
    /// Whether a URL is one of them.
    #[must_use]
    pub fn matches(&self, url: &Uri) -> bool {
        let host = url.host().unwrap_or_default().to_ascii_lowercase();
        let right_host = match self.host.strip_prefix('*') {
            Some(parent) => host.len() > parent.len() && host.ends_with(parent),
            None => host == self.host,
        };
        // A path that climbs up is not below anything.
        let path = url.path();
        let climbs =
            path.split('/').any(|part| part == ".." || part.eq_ignore_ascii_case("%2e%2e"));
        let right_path = match self.path.strip_suffix('*') {
            Some(beginning) => path.starts_with(beginning) && !climbs,
            None => path == self.path,
        };
        url.scheme_str() == Some(&self.scheme)
            && right_host
            && url.port_u16() == self.port
            && right_path
    }
}

impl FromStr for UrlPattern {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (scheme, rest) = text.split_once("://").ok_or(())?;
        let (authority, path) = rest.find('/').map_or((rest, "/*"), |at| rest.split_at(at));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| ())?)),
            None => (authority, None),
        };
        let name = host.strip_prefix("*.").unwrap_or(host);
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        let right = matches!(scheme, "https" | "http")
            && !name.is_empty()
            && name.chars().all(legal)
            && !path[..path.len() - 1].contains('*');
        if !right {
            return Err(());
        }
        let (scheme, host) = (scheme.to_owned(), host.to_ascii_lowercase());
        Ok(Self { scheme, host, port, path: path.to_owned() })
    }
}

impl fmt::Display for UrlPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port, path } = self;
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        write!(f, "{scheme}://{host}{port}{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, url: &str) -> bool {
        pattern.parse::<UrlPattern>().unwrap().matches(&url.parse().unwrap())
    }

    #[test]
    fn hosts_ports_and_paths_are_compared_as_they_are_meant() {
        assert!(matches("https://a.com", "https://a.com/any?x=y"));
        assert!(matches("https://A.com/hooks/*", "https://a.COM/hooks/1/2"));
        assert!(matches("https://*.a.com", "https://b.a.com/"));
        assert!(matches("https://a.com:8443/x", "https://a.com:8443/x"));
        for (pattern, url) in [
            ("https://a.com", "http://a.com/"),
            ("https://a.com", "https://a.com.evil.com/"),
            ("https://a.com", "https://a.com:8443/"),
            ("https://*.a.com", "https://a.com/"),
            ("https://*.a.com", "https://evila.com/"),
            ("https://a.com/x", "https://a.com/x/y"),
            ("https://a.com/hooks/*", "https://a.com/hooks/../admin"),
            ("https://a.com/hooks/*", "https://a.com/hooks/%2E%2e/admin"),
        ] {
            assert!(!matches(pattern, url), "{pattern} {url}");
        }
    }

    #[test]
    fn patterns_are_printed_as_they_are_read() {
        for text in ["https://a.com:1/x*", "http://*.a.com/*", "https://a.com/x"] {
            assert_eq!(text.parse::<UrlPattern>().unwrap().to_string(), text);
        }
        for wrong in [
            "",
            "a.com",
            "ftp://a.com",
            "https://",
            "https://a*.com",
            "https://*",
            "https://a.com/*/x",
            "https://a.com:x/",
            "https://u@a.com/",
        ] {
            assert!(wrong.parse::<UrlPattern>().is_err(), "{wrong}");
        }
    }
}

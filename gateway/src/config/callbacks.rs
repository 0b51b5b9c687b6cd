//! What the configuration says about callbacks.

use super::read::{is_queue_url, names, yes_or_no};
use super::reader::Reader;
use super::show::{line, list, quoted};
use super::tables::of_tenants;
use super::values::text;
use http::Uri;
use queuebridge_proto::v1::Callback;
use queuebridge_proto::v1::callback::Target;
use std::collections::BTreeMap;
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
    /// Tenants with lists of their own, which hold for them instead of these two.
    pub tenants: BTreeMap<String, TenantCallbacks>,
}

/// What the callbacks of one tenant may reach. What is not in its lists is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantCallbacks {
    /// The URLs that may be called. Default: none.
    pub allow: Vec<UrlPattern>,
    /// The URLs of queues and the ARNs of topics that may be told. Default: none.
    pub targets: Vec<String>,
}

/// The lists that a callback is checked against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receivers<'a> {
    /// The URLs; `None`: every one.
    pub(crate) allow: Option<&'a [UrlPattern]>,
    /// Whether http URLs are among them.
    pub(crate) allow_http: bool,
    /// Queues and topics.
    pub(crate) targets: &'a [String],
}

impl CallbackConfig {
    /// The lists of the deployment.
    pub(crate) fn receivers(&self) -> Receivers<'_> {
        let allow = Some(self.allow.as_slice()).filter(|allow| !allow.is_empty());
        Receivers { allow, allow_http: self.allow_http, targets: &self.targets }
    }

    /// The lists of a tenant: its own, or those of the deployment.
    pub(crate) fn receivers_of(&self, tenant: &str) -> Receivers<'_> {
        match self.tenants.get(tenant) {
            Some(own) => Receivers {
                allow: Some(&own.allow),
                allow_http: self.allow_http,
                targets: &own.targets,
            },
            None => self.receivers(),
        }
    }
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
        tenants: BTreeMap::new(),
    };
    reader.set("callbacks.allow", &mut callbacks.allow, urls);
    reader.set("callbacks.allow_http", &mut callbacks.allow_http, yes_or_no);
    reader.set("callbacks.targets", &mut callbacks.targets, targets);
    let named = of_tenants(reader, "callbacks.tenant", |inner| {
        let mut own = TenantCallbacks::default();
        inner.set("allow", &mut own.allow, urls);
        inner.set("targets", &mut own.targets, targets);
        own
    });
    callbacks.tenants = named.into_iter().collect();
    queue.map(|_| callbacks)
}

fn urls(value: &Value) -> Result<Vec<UrlPattern>, String> {
    let pattern = |text: String| text.parse::<UrlPattern>().ok();
    let patterns: Option<Vec<_>> =
        names(value).and_then(|all| all.into_iter().map(pattern).collect());
    patterns.ok_or_else(|| "a list such as [\"https://*.example.com/hooks/*\"]".to_owned())
}

fn targets(value: &Value) -> Result<Vec<String>, String> {
    let known = |name: &String| is_queue_url(name) || name.starts_with("arn:");
    let names = names(value).filter(|all| all.iter().all(known));
    names.ok_or_else(|| "a list of queue URLs and topic ARNs".to_owned())
}

pub(super) fn show(f: &mut fmt::Formatter<'_>, callbacks: &CallbackConfig) -> fmt::Result {
    writeln!(f, "\n[callbacks]")?;
    line(f, "queue", quoted(&callbacks.queue))?;
    line(f, "allow", list(&callbacks.allow))?;
    line(f, "allow_http", callbacks.allow_http)?;
    line(f, "targets", list(&callbacks.targets))?;
    for (name, own) in &callbacks.tenants {
        writeln!(f, "[[callbacks.tenant]]")?;
        line(f, "name", quoted(name))?;
        line(f, "allow", list(&own.allow))?;
        line(f, "targets", list(&own.targets))?;
    }
    Ok(())
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
        let path = url.path();
        let right_path = match self.path.strip_suffix('*') {
            Some(beginning) => path.starts_with(beginning) && !climbs(path),
            None => path == self.path,
        };
        url.scheme_str() == Some(&self.scheme)
            && right_host
            && url.port_u16() == self.port
            && right_path
    }
}

/// Whether a path leaves what it begins with, as a server may read it: dots and slashes may
/// be encoded, and a parameter may follow them. Such a path is not below anything.
fn climbs(path: &str) -> bool {
    let path = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/");
    let path = path.replace("%5c", "\\");
    path.split(['/', '\\']).any(|part| part.split(';').next() == Some(".."))
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
    use crate::config::Config;

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
            ("https://a.com/hooks/*", "https://a.com/hooks/.%2e/admin"),
            ("https://a.com/hooks/*", "https://a.com/hooks/..%2Fadmin"),
            ("https://a.com/hooks/*", "https://a.com/hooks/x%2f..%5cadmin"),
            ("https://a.com/hooks/*", "https://a.com/hooks/..;x=y/admin"),
        ] {
            assert!(!matches(pattern, url), "{pattern} {url}");
        }
        assert!(matches("https://a.com/hooks/*", "https://a.com/hooks/..x/x../a.b/...?p=/../"));
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

    const REST: &str = r#"
auth = "none"
job_id_keys = "1:MDEyMzQ1Njc4OWFiY2RlZg=="
envelope_keys = "1:ZmVkY2JhOTg3NjU0MzIxMA=="
store.table = "t"
route = [{ methods = "*", queue = "https://sqs.example/1/q" }]
[callbacks]
queue = "https://sqs.example/1/callbacks"
"#;

    #[test]
    fn tenants_have_lists_of_their_own_which_are_shown_as_they_are_read() {
        let text = "targets = [\"https://sqs.example/1/all\"]\n\
                    [[callbacks.tenant]]\nname = \"acme\"\nallow = [\"https://acme.example/*\"]\n\
                    targets = [\"arn:aws:sns:eu-central-1:1:acme\"]\n\
                    [[callbacks.tenant]]\nname = \"shop\"\n";
        let config = Config::parse(&format!("{REST}{text}"), []).unwrap();
        let callbacks = config.callbacks.as_ref().unwrap();
        assert_eq!(callbacks.tenants["acme"].allow[0].to_string(), "https://acme.example/*");
        assert_eq!(callbacks.tenants["acme"].targets, ["arn:aws:sns:eu-central-1:1:acme"]);
        assert_eq!(callbacks.tenants["shop"], TenantCallbacks::default());
        let shown = config.to_string();
        let part = shown.split("\n\n").find(|part| part.starts_with("[callbacks]")).unwrap();
        let rest = REST.split("[callbacks]").next().unwrap();
        let again = Config::parse(&format!("{rest}{part}"), []).unwrap();
        assert_eq!(again.callbacks, config.callbacks);
    }

    #[test]
    fn mistakes_of_tenants_are_named() {
        for (text, place) in [
            ("tenant = [{ allow = [] }]", "callbacks.tenant[0].name"),
            ("tenant = [{ name = \"a b\" }]", "callbacks.tenant[0].name"),
            ("tenant = [{ name = \"a\" }, { name = \"a\" }]", "callbacks.tenant[1].name"),
            ("tenant = [{ name = \"a\", allow = [\"a.com\"] }]", "callbacks.tenant[0].allow"),
            ("tenant = [{ name = \"a\", targets = [\"q\"] }]", "callbacks.tenant[0].targets"),
            ("tenant = [{ name = \"a\", queue = \"q\" }]", "callbacks.tenant[0].queue"),
        ] {
            let errors = Config::parse(&format!("{REST}{text}"), []).unwrap_err().to_string();
            assert!(errors.contains(place), "{errors}");
        }
    }
}

//! What the configuration says about callbacks.

use super::read::{is_queue_url, names, yes_or_no};
use super::reader::{Found, Reader, found};
use super::show::{line, list, quoted};
use super::tables::of_tenants;
use super::values::text;
use queuebridge_proto::v1::Callback;
use queuebridge_proto::v1::callback::Target;
use queuebridge_web::callback_url::UrlPattern;
use std::collections::BTreeMap;
use std::fmt;
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
    callbacks.allow = urls(reader, "callbacks.allow");
    reader.set("callbacks.allow_http", &mut callbacks.allow_http, yes_or_no);
    reader.set("callbacks.targets", &mut callbacks.targets, targets);
    let named = of_tenants(reader, "callbacks.tenant", |inner| {
        let mut own = TenantCallbacks { allow: urls(inner, "allow"), targets: Vec::new() };
        inner.set("targets", &mut own.targets, targets);
        own
    });
    callbacks.tenants = named.into_iter().collect();
    queue.map(|_| callbacks)
}

/// Reads patterns; each that is wrong is named with what would be right.
fn urls(reader: &mut Reader, path: &'static str) -> Vec<UrlPattern> {
    let Some(Found { place, value }) = reader.take(path) else { return Vec::new() };
    let form = match value {
        // A variable, or what is written like one.
        Value::String(_) => "https://*.example.com/hooks/*,https://example.org",
        _ => "[\"https://*.example.com/hooks/*\", \"https://example.org\"]",
    };
    let Some(texts) = names(&value) else {
        reader.complain(place, found(&value), format!("a list such as {form}"));
        return Vec::new();
    };
    let mut patterns = Vec::with_capacity(texts.len());
    for text in texts {
        match text.parse() {
            Ok(pattern) => patterns.push(pattern),
            Err(right) => {
                let expected = format!("{right}; a list is written {form}");
                reader.complain(&place, format!("found {text:?}"), expected);
            }
        }
    }
    patterns
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn allow(file: &str, env: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = Config::parse(&format!("{REST}{file}"), env);
        let config = config.map_err(|errors| errors.to_string())?;
        Ok(config.callbacks.unwrap().allow.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn patterns_are_shown_in_their_normal_form() {
        let file = r#"allow = ["HTTPS://A.com:443/Hooks/*", "http://*.b.com:80"]"#;
        let expected = ["https://a.com/Hooks/*", "http://*.b.com/*"];
        assert_eq!(allow(file, &[]).unwrap(), expected);
        let variable = "https://a.com/Hooks/*, http://*.b.com";
        assert_eq!(allow("", &[("QB_CALLBACKS_ALLOW", variable)]).unwrap(), expected);
    }

    #[test]
    fn each_wrong_pattern_is_named_with_what_is_right_and_in_the_form_of_its_place() {
        let file = r#"allow = ["https://a.com/*", "https://a.com/x/../*", "https://a.com:0"]"#;
        let errors = allow(file, &[]).unwrap_err();
        let lines: Vec<&str> = errors.lines().collect();
        assert_eq!(lines.len(), 2, "{errors}");
        for part in ["callbacks.allow: found \"https://a.com/x/../*\"", "here https://a.com/"] {
            assert!(lines[0].contains(part), "{errors}");
        }
        assert!(lines[1].contains("1 to 65535") && lines[1].contains("[\"https://"), "{errors}");
        let variable = [("QB_CALLBACKS_ALLOW", "[\"https://a.com/*\"]")];
        let errors = allow("", &variable).unwrap_err();
        let form = "https://*.example.com/hooks/*,https://example.org";
        assert!(errors.contains("QB_CALLBACKS_ALLOW: found") && errors.contains(form), "{errors}");
        let none = [("QB_CALLBACKS_ALLOW", "https://a.com/*,")];
        assert!(allow("", &none).unwrap_err().contains("found \"\""), "an empty entry");
        let errors = allow("allow = [1]", &[]).unwrap_err();
        assert!(errors.contains("a list such as [\""), "{errors}");
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

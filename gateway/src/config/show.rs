//! The effective configuration as text: TOML that could be read again, but for
//! the secrets, which are not in it.

use super::{
    Config, Destination, Guarantee, LogFormat, RouteConfig, code_name, format_duration, size,
};
use queuebridge_proto::v1::callback::Target;
use std::fmt::{self, Display};
use toml::Value;

impl Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, "listen", quoted(self.listen))?;
        line(f, "tenant", quoted(&self.tenant))?;
        for (name, keys) in
            [("job_id_keys", &self.job_id_keys), ("envelope_keys", &self.envelope_keys)]
        {
            line(f, name, quoted(format!("<redacted; key {} signs>", keys.signing_id())))?;
        }
        line(f, "max_message_bytes", quoted(size::format(self.max_message_bytes)))?;
        line(f, "max_pending", self.max_pending)?;
        line(f, "drain_timeout", quoted(format_duration(self.drain_timeout)))?;
        writeln!(f, "\n[store]")?;
        line(f, "table", quoted(&self.store.table))?;
        if let Some(bucket) = &self.store.payload_bucket {
            line(f, "payload_bucket", quoted(bucket))?;
        }
        line(f, "payload_prefix", quoted(&self.store.payload_prefix))?;
        line(f, "copies_survive", quoted(format_duration(self.store.copies_survive)))?;
        writeln!(f, "\n[replies]")?;
        line(f, "queues", list(&self.reply_queues))?;
        if let Some(callbacks) = &self.callbacks {
            writeln!(f, "\n[callbacks]")?;
            line(f, "queue", quoted(&callbacks.queue))?;
            line(f, "allow", list(&callbacks.allow))?;
            line(f, "allow_http", callbacks.allow_http)?;
            line(f, "targets", list(&callbacks.targets))?;
        }
        writeln!(f, "\n[log]")?;
        let format = match self.log.format {
            LogFormat::Json => "json",
            LogFormat::Text => "text",
        };
        line(f, "format", quoted(format))?;
        line(f, "filter", quoted(&self.log.filter))?;
        self.routes.iter().try_for_each(|route| show_route(f, route))
    }
}

fn show_route(f: &mut fmt::Formatter<'_>, route: &RouteConfig) -> fmt::Result {
    writeln!(f, "\n[[route]]")?;
    line(f, "methods", quoted(&route.methods))?;
    let kind = match route.destination {
        Destination::Queue(_) => "queue",
        Destination::Topic(_) => "topic",
    };
    line(f, kind, quoted(&route.destination))?;
    line(f, "guarantee", quoted(route.guarantee.name()))?;
    if route.guarantee == Guarantee::Claimed {
        line(f, "lease_policy", quoted(route.lease_policy.name()))?;
    }
    line(f, "announce", route.announce)?;
    if let Some(target) = route.callback.as_ref().and_then(|callback| callback.target.as_ref()) {
        line(f, "callback", show_callback(target))?;
    }
    line(f, "max_attempts", route.max_attempts)?;
    let codes: Vec<String> = route.retry_on.iter().map(|code| quoted(code_name(*code))).collect();
    line(f, "retry_on", format!("[{}]", codes.join(", ")))?;
    for (name, time) in [
        ("initial_backoff", route.initial_backoff),
        ("max_backoff", route.max_backoff),
        ("default_expiry", route.default_expiry),
        ("max_expiry", route.max_expiry),
        ("default_retention", route.default_retention),
        ("max_retention", route.max_retention),
    ] {
        line(f, name, quoted(format_duration(time)))?;
    }
    for (name, bytes) in [
        ("max_request_bytes", route.max_request_bytes),
        ("inline_request_bytes", route.inline_request_bytes),
    ] {
        bytes.map_or(Ok(()), |bytes| line(f, name, quoted(size::format(bytes))))?;
    }
    Ok(())
}

fn show_callback(target: &Target) -> String {
    let (key, value) = match target {
        Target::WebhookUrl(url) => ("webhook_url", url),
        Target::QueueUrl(url) => ("queue_url", url),
        Target::TopicArn(arn) => ("topic_arn", arn),
        Target::GrpcUrl(url) => ("grpc_url", url),
    };
    format!("{{ {key} = {} }}", quoted(value))
}

fn list(values: &[impl Display]) -> String {
    let values: Vec<String> = values.iter().map(quoted).collect();
    format!("[{}]", values.join(", "))
}

fn line(f: &mut fmt::Formatter<'_>, key: &str, value: impl Display) -> fmt::Result {
    writeln!(f, "{key} = {value}")
}

fn quoted(value: impl Display) -> String {
    Value::String(value.to_string()).to_string()
}

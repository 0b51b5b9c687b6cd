//! The effective configuration as text: TOML that could be read again, but for
//! the secrets, which are not in it.

use super::{
    AuthConfig, CallConfig, Config, Destination, FanOut, Guarantee, LogFormat, RouteConfig, auth,
    callbacks, code_name, format_duration, lambda, quota, size,
};
use crate::fan_out::deadline_of;
use queuebridge_proto::gather::keeps_late;
use queuebridge_proto::v1::callback::Target;
use queuebridge_proto::v1::gather_rule::Answer;
use std::fmt::{self, Display};
use toml::Value;
use tonic::Code;

impl Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, "listen", quoted(self.listen))?;
        if self.auth == AuthConfig::None {
            line(f, "auth", quoted("none"))?;
            line(f, "tenant", quoted(&self.tenant))?;
            line(f, "hosts", list(&self.hosts))?;
        }
        for (name, keys) in
            [("job_id_keys", &self.job_id_keys), ("envelope_keys", &self.envelope_keys)]
        {
            line(f, name, quoted(format!("<redacted; key {} signs>", keys.signing_id())))?;
        }
        line(f, "max_message_bytes", quoted(size::format(self.max_message_bytes)))?;
        line(f, "max_pending", self.max_pending)?;
        line(f, "drain_timeout", quoted(format_duration(self.drain_timeout)))?;
        auth::show(f, &self.auth)?;
        quota::show(f, &self.quota)?;
        self.tls.iter().try_for_each(|tls| tls.fmt(f))?;
        self.limits.fmt(f)?;
        writeln!(f, "\n[store]")?;
        line(f, "table", quoted(&self.store.table))?;
        if let Some(bucket) = &self.store.payload_bucket {
            line(f, "payload_bucket", quoted(bucket))?;
        }
        line(f, "payload_prefix", quoted(&self.store.payload_prefix))?;
        line(f, "copies_survive", quoted(format_duration(self.store.copies_survive)))?;
        writeln!(f, "\n[replies]")?;
        line(f, "queues", list(&self.reply_queues))?;
        self.callbacks.iter().try_for_each(|all| callbacks::show(f, all))?;
        writeln!(f, "\n[cors]")?;
        line(f, "allow_origins", list(&self.cors_origins))?;
        writeln!(f, "\n[descriptors]")?;
        let files: Vec<_> = self.descriptor_files.iter().map(|path| path.display()).collect();
        line(f, "files", list(&files))?;
        writeln!(f, "\n[lambda]")?;
        line(f, "invoke_mode", quoted(lambda::name(self.invoke_mode)))?;
        if let Some(base_path) = &self.base_path {
            line(f, "base_path", quoted(base_path))?;
        }
        if let Some(encryption) = &self.encryption {
            writeln!(f, "\n[encryption]")?;
            line(f, "keys", list(&encryption.keys))?;
            line(f, "encrypt", encryption.encrypt)?;
            line(f, "required", encryption.required)?;
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
    match &route.destination {
        Destination::Queue(url) => line(f, "queue", quoted(url))?,
        Destination::Topic(arn) => line(f, "topic", quoted(arn))?,
        Destination::Branches | Destination::None => {}
    }
    if let Some(upstream) = &route.upstream {
        line(f, "upstream", &upstream.target)?;
        line(f, "upstream_takes", quoted(upstream.takes.name()))?;
    }
    if route.destination == Destination::None {
        return max_request_bytes(f, route);
    }
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
    max_request_bytes(f, route)?;
    if let Some(bytes) = route.inline_request_bytes {
        line(f, "inline_request_bytes", quoted(size::format(bytes)))?;
    }
    show_calls(f, &route.calls)?;
    route.fan_out.as_ref().map_or(Ok(()), |fan_out| show_fan_out(f, fan_out))
}

fn show_calls(f: &mut fmt::Formatter<'_>, calls: &CallConfig) -> fmt::Result {
    let modes: Vec<&str> = calls.modes.iter().map(|mode| mode.name()).collect();
    line(f, "modes", list(&modes))?;
    line(f, "budget", quoted(format_duration(calls.budget)))?;
    if let Some(abandoned) = calls.when_abandoned {
        line(f, "when_abandoned", quoted(abandoned.name()))?;
    }
    if let Some(within) = calls.attach_within {
        line(f, "attach_within", quoted(format_duration(within)))?;
    }
    if !calls.ignored_metadata.is_empty() {
        let names: Vec<&str> = calls.ignored_metadata.iter().map(String::as_str).collect();
        line(f, "ignored_metadata", list(&names))?;
    }
    line(f, "deterministic", calls.deterministic)
}

fn max_request_bytes(f: &mut fmt::Formatter<'_>, route: &RouteConfig) -> fmt::Result {
    let show = |bytes| line(f, "max_request_bytes", quoted(size::format(bytes)));
    route.max_request_bytes.map_or(Ok(()), show)
}

fn show_fan_out(f: &mut fmt::Formatter<'_>, fan_out: &FanOut) -> fmt::Result {
    let rule = &fan_out.rule;
    writeln!(f, "[route.gather]")?;
    match rule.need {
        0 => line(f, "need", quoted("all"))?,
        need => line(f, "need", need)?,
    }
    if let Some(deadline) = deadline_of(rule) {
        line(f, "deadline", quoted(format_duration(deadline)))?;
    }
    line(f, "partial", rule.partial)?;
    let codes = rule.success_codes.iter().map(|code| code_name(Code::from_i32(*code)));
    let codes: Vec<&str> = codes.collect();
    line(f, "success_codes", list(if codes.is_empty() { &["OK"] } else { &codes }))?;
    let late = if keeps_late(rule) { "keep" } else { "ignore" };
    line(f, "late_branches", quoted(late))?;
    line(f, "cancel_rest", rule.cancel_rest)?;
    match &rule.answer {
        Some(Answer::Primary(name)) => line(f, "primary", quoted(name))?,
        Some(Answer::Merge(merge)) => line(f, "merge", merge)?,
        None => {}
    }
    for branch in &fan_out.branches {
        writeln!(f, "[[route.branch]]")?;
        line(f, "name", quoted(&branch.name))?;
        branch.queue.as_ref().map_or(Ok(()), |queue| line(f, "queue", quoted(queue)))?;
        branch.method.as_ref().map_or(Ok(()), |method| line(f, "method", quoted(method)))?;
        let when =
            branch.when.iter().map(|(key, values)| format!("{} = {}", quoted(key), list(values)));
        let when: Vec<String> = when.collect();
        if !when.is_empty() {
            line(f, "when", format!("{{ {} }}", when.join(", ")))?;
        }
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

pub(super) fn list(values: &[impl Display]) -> String {
    let values: Vec<String> = values.iter().map(quoted).collect();
    format!("[{}]", values.join(", "))
}

pub(super) fn line(f: &mut fmt::Formatter<'_>, key: &str, value: impl Display) -> fmt::Result {
    writeln!(f, "{key} = {value}")
}

pub(super) fn quoted(value: impl Display) -> String {
    Value::String(value.to_string()).to_string()
}

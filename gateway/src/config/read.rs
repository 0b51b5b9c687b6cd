//! From text and environment to the configuration.

use super::auth;
use super::protocols;
use super::quota;
use super::reader::{Found, Reader, found};
use super::tables::each_of;
use super::upstream;
use super::values::{bytes, text, time, whole, word};
use super::{
    AuthConfig, CallbackConfig, Config, ConfigErrors, DAY, Destination, Guarantee, LeasePolicy,
    LogConfig, LogFormat, MESSAGE_BYTES, MethodPattern, RouteConfig, StoreConfig, UrlPattern,
    code_from_name,
};
use super::{calls, encryption, fan_out, lambda, limits, tls};
use crate::callback;
use queuebridge_proto::Keyring;
use queuebridge_proto::job_id::MAX_REPLY_SHARDS;
use queuebridge_proto::v1::Callback;
use queuebridge_proto::v1::callback::Target;
use std::collections::HashSet;
use std::time::Duration;
use toml::{Table, Value};
use tonic::Code;

const MIB: usize = 1024 * 1024;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

const KEYS: &str = "\"id:base64[,id:base64...]\", the signing key first, \
                    each with an id from 0 to 255 and a secret of at least 16 bytes";
const ROUTES: &str = "at least one [[route]] with `methods` and `queue`, `topic` or `upstream`";

pub(super) fn config(
    file: &str,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigErrors> {
    let table = toml::from_str::<Table>(file).map_err(|error| not_toml(file, &error))?;
    let mut reader = Reader::new(table, env);
    let job_id_keys = keys(&mut reader, "job_id_keys");
    let envelope_keys = keys(&mut reader, "envelope_keys");
    let listen = reader.read(
        "listen",
        text("an address and a port, such as \"127.0.0.1:50051\"", |t| t.parse().ok()),
    );
    let auth = auth::read(&mut reader);
    let tenant = tenant(&mut reader, auth.as_ref());
    let (tls, limits) = (tls::read(&mut reader), limits::read(&mut reader));
    let max_message_bytes = reader.read("max_message_bytes", bytes(MESSAGE_BYTES));
    let max_pending = reader.read("max_pending", whole(1..=1_000_000usize));
    let quota = quota::read(&mut reader);
    let drain_timeout = reader.read("drain_timeout", time(Duration::ZERO..=HOUR));
    let store = store(&mut reader);
    let reply_queues = replies(&mut reader);
    let callbacks = callbacks(&mut reader);
    let cors_origins = protocols::origins(&mut reader);
    let descriptor_files = protocols::descriptor_files(&mut reader);
    let invoke_mode = lambda::invoke_mode(&mut reader);
    let encryption = encryption::read(&mut reader);
    let log = log(&mut reader);
    let routes = routes(&mut reader);
    let stores = store.as_ref().is_none_or(|store| store.payload_bucket.is_some());
    if !stores && routes.iter().any(|route| route.inline_request_bytes.is_some()) {
        let problem = "there is no store.payload_bucket to put larger requests into";
        reader.complain("route.inline_request_bytes", problem, "no such key, or a bucket");
    }

    for (index, route) in routes.iter().enumerate() {
        let wrong = |wanted| callback::check(wanted, callbacks.as_ref()).err();
        if let Some(status) = route.callback.as_ref().and_then(wrong) {
            let place = format!("route[{index}].callback");
            reader.complain(place, status.message(), "whom this gateway may tell");
        }
    }

    if let (Some(ids), Some(envelopes)) = (&job_id_keys, &envelope_keys)
        && ids.shares_a_secret_with(envelopes)
    {
        let problem = "one of its secrets is among the job_id_keys, too";
        reader.complain("envelope_keys", problem, "secrets of their own: workers hold these");
    }

    let mistakes = reader.finish();
    match (job_id_keys, envelope_keys, store, auth) {
        (Some(job_id_keys), Some(envelope_keys), Some(store), Some(auth))
            if mistakes.is_empty() =>
        {
            let defaults = Config::new(job_id_keys, envelope_keys, store, routes);
            Ok(Config {
                listen: listen.unwrap_or(defaults.listen),
                auth,
                tls,
                limits,
                tenant: tenant.unwrap_or(defaults.tenant),
                max_message_bytes: max_message_bytes.unwrap_or(defaults.max_message_bytes),
                max_pending: max_pending.unwrap_or(defaults.max_pending),
                quota,
                drain_timeout: drain_timeout.unwrap_or(defaults.drain_timeout),
                reply_queues,
                callbacks,
                cors_origins,
                descriptor_files,
                invoke_mode,
                encryption,
                log,
                ..defaults
            })
        }
        _ => Err(ConfigErrors(mistakes)),
    }
}

pub(super) fn keys(reader: &mut Reader, path: &'static str) -> Option<Keyring> {
    reader.secret(path, KEYS, |text| Keyring::parse(text).map_err(|error| error.to_string()))
}

fn tenant(reader: &mut Reader, auth: Option<&AuthConfig>) -> Option<String> {
    let tenant = reader.read("tenant", auth::tenant())?;
    if let Some(AuthConfig::Callers(_)) = auth {
        let problem = "tenants follow from who calls";
        reader.complain(reader.at("tenant"), problem, "no such key, or auth = \"none\"");
    }
    Some(tenant)
}

fn store(reader: &mut Reader) -> Option<StoreConfig> {
    let table = reader.take("store.table");
    let mut store = StoreConfig::new("");
    payloads(reader, &mut store);
    // Ten years stand for "for ever"; less than a day is for tests.
    let range = SECOND..=DAY * 3650;
    reader.set("store.copies_survive", &mut store.copies_survive, time(range));
    let expected = "the name of the DynamoDB table";
    match table {
        Some(Found { value: Value::String(name), .. }) if !name.is_empty() => {
            Some(StoreConfig { table: name, ..store })
        }
        Some(other) => {
            reader.complain(other.place, found(&other.value), expected);
            None
        }
        None => {
            reader.missing("store.table", expected);
            None
        }
    }
}

pub(super) fn payloads(reader: &mut Reader, store: &mut StoreConfig) {
    let bucket = |text: &str| (3..=63).contains(&text.len()).then(|| Some(text.to_owned()));
    reader.set("store.payload_bucket", &mut store.payload_bucket, text("a bucket name", bucket));
    reader.set(
        "store.payload_prefix",
        &mut store.payload_prefix,
        text("nothing, or a path that ends with '/' and does not begin with it", prefix),
    );
}

fn prefix(text: &str) -> Option<String> {
    let right = text.is_empty() || (text.ends_with('/') && !text.starts_with('/'));
    (right && text.len() <= 256).then(|| text.to_owned())
}

fn replies(reader: &mut Reader) -> Vec<String> {
    let mut queues = Vec::new();
    let expected = format!("up to {MAX_REPLY_SHARDS} different URLs of standard SQS queues");
    let right = |list: &[String]| {
        let url = |url: &String| is_queue_url(url) && !url.ends_with(".fifo");
        let unique: HashSet<&String> = list.iter().collect();
        list.len() <= MAX_REPLY_SHARDS && list.iter().all(url) && unique.len() == list.len()
    };
    reader.set("replies.queues", &mut queues, |value| {
        names(value).filter(|list| right(list)).ok_or(expected)
    });
    queues
}

/// A list of names, or in a variable the same with commas.
pub(super) fn names(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(text.split(',').map(|name| name.trim().to_owned()).collect()),
        value => value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
    }
}

pub(super) fn yes_or_no(value: &Value) -> Result<bool, String> {
    let text = value.as_str().and_then(|text| text.parse().ok());
    value.as_bool().or(text).ok_or_else(|| "true or false".to_owned())
}

fn callbacks(reader: &mut Reader) -> Option<CallbackConfig> {
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
fn told(value: &Value) -> Result<Callback, String> {
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

pub(super) fn is_queue_url(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

fn log(reader: &mut Reader) -> LogConfig {
    let mut log = LogConfig::default();
    let formats = [("json", LogFormat::Json), ("text", LogFormat::Text)];
    reader.set("log.format", &mut log.format, word(&formats));
    let filter = |text: &str| {
        text.parse::<tracing_subscriber::filter::Targets>().ok().map(|_| text.to_owned())
    };
    let expected = "levels, such as \"info\" or \"warn,queuebridge_gateway=debug\"";
    reader.set("log.filter", &mut log.filter, text(expected, filter));
    log
}

fn routes(reader: &mut Reader) -> Vec<RouteConfig> {
    let Some(Found { place, value }) = reader.take("route") else {
        reader.missing("route", ROUTES);
        return vec![];
    };
    let list = match value {
        Value::String(text) => match list(&text) {
            Ok(list) => list,
            Err(problem) => {
                let expected = "a TOML list of inline tables, or the same in JSON";
                reader.complain(place, problem, expected);
                return vec![];
            }
        },
        Value::Array(list) => list,
        other => {
            reader.complain(place, found(&other), ROUTES);
            return vec![];
        }
    };
    if list.is_empty() {
        reader.complain(&place, "there is none", ROUTES);
    }
    each_of(reader, &place, list, |inner, before: &[RouteConfig]| {
        let route = route(inner)?;
        if before.iter().any(|other| other.methods == route.methods) {
            let problem = format!("{} has a route already", route.methods);
            inner.complain(inner.at("methods"), problem, "one route per pattern");
        }
        Some(route)
    })
}

/// The routes in a variable: JSON, or the value of a TOML key.
fn list(text: &str) -> Result<Vec<Value>, String> {
    if let Ok(list) = serde_json::from_str(text) {
        return Ok(list);
    }
    let mut table: Table = toml::from_str(&format!("routes = {text}"))
        .map_err(|error| error.message().trim().to_owned())?;
    match table.remove("routes") {
        Some(Value::Array(list)) => Ok(list),
        _ => Err("not a list".to_owned()),
    }
}

fn route(reader: &mut Reader) -> Option<RouteConfig> {
    let pattern = "\"/package.Service/Method\", \"/package.Service/*\" or \"*\"";
    let methods = match reader.take("methods") {
        None => {
            reader.missing("methods", pattern);
            None
        }
        Some(Found { place, value }) => {
            let parsed = value.as_str().and_then(|text| text.parse::<MethodPattern>().ok());
            if parsed.is_none() {
                reader.complain(place, found(&value), pattern);
            }
            parsed
        }
    };
    let (branches, has_upstream) = (reader.has("branch"), reader.has("upstream"));
    let of_jobs = upstream::keys_of_jobs(reader);
    let upstream = upstream::read(reader);
    let destination = destination(reader, branches, has_upstream);
    // The rest is read in any case, so that its mistakes are reported as well.
    let stand_in = Destination::Queue(String::new());
    let complete = methods.is_some() && destination.is_some() && upstream.is_some() == has_upstream;
    let methods = methods.unwrap_or(MethodPattern::All);
    let mut route = RouteConfig::new(methods, destination.unwrap_or(stand_in));
    route.upstream = upstream;
    let guarantees = [Guarantee::Claimed, Guarantee::AtLeastOnce].map(|g| (g.name(), g));
    reader.set("guarantee", &mut route.guarantee, word(&guarantees));
    let policies = [LeasePolicy::Retry, LeasePolicy::Fail, LeasePolicy::Hold];
    if let Some(policy) = reader.read("lease_policy", word(&policies.map(|p| (p.name(), p)))) {
        route.lease_policy = policy;
        if route.guarantee == Guarantee::AtLeastOnce {
            let problem = "at_least_once takes no lease";
            reader.complain(reader.at("lease_policy"), problem, "no such key, or \"claimed\"");
        }
    }
    reader.set("max_attempts", &mut route.max_attempts, whole(1..=100));
    reader.set("retry_on", &mut route.retry_on, codes);
    let request_bytes = reader.read("max_request_bytes", bytes(1..=64 * MIB));
    route.max_request_bytes = request_bytes;
    route.inline_request_bytes = reader.read("inline_request_bytes", bytes(0..=64 * MIB));
    reader.set("announce", &mut route.announce, yes_or_no);
    route.callback = reader.read("callback", told);
    times(reader, &mut route);
    route.fan_out = fan_out::read(reader, &route);
    route.calls = calls::read(reader);
    upstream::check(reader, &route, &of_jobs);
    if route.guarantee == Guarantee::AtLeastOnce && route.is_fifo() {
        let problem = "at_least_once keeps no order, and the destination is FIFO";
        reader.complain(reader.at("guarantee"), problem, "\"claimed\"");
    }
    complete.then_some(route)
}

/// Where the jobs of a route go. It has none when all its calls go upstream.
fn destination(reader: &mut Reader, branches: bool, upstream: bool) -> Option<Destination> {
    let is_topic = |t: &str| t.starts_with("arn:") && t.split(':').nth(2) == Some("sns");
    let (has_queue, queue) = name(reader, "queue", "the URL of an SQS queue", is_queue_url);
    let (has_topic, topic) = name(reader, "topic", "the ARN of an SNS topic", is_topic);
    match (has_queue, has_topic) {
        (true, true) => {
            reader.complain(reader.at("topic"), "there is a queue as well", "only one of the two");
            None
        }
        (false, false) if branches => Some(Destination::Branches),
        (false, false) if upstream => Some(Destination::None),
        (false, false) => {
            reader.missing("queue", "a queue, a topic or an upstream");
            None
        }
        _ => queue.map(Destination::Queue).or(topic.map(Destination::Topic)),
    }
}

/// Whether the name is given, and the name if it is right.
fn name(
    reader: &mut Reader,
    path: &'static str,
    expected: &str,
    is_right: impl Fn(&str) -> bool,
) -> (bool, Option<String>) {
    let Some(Found { place, value }) = reader.take(path) else { return (false, None) };
    match value {
        Value::String(text) if is_right(&text) => (true, Some(text)),
        other => {
            reader.complain(place, found(&other), expected);
            (true, None)
        }
    }
}

fn codes(value: &Value) -> Result<Vec<Code>, String> {
    let code = |value: &Value| code_from_name(value.as_str()?).filter(|code| *code != Code::Ok);
    value
        .as_array()
        .and_then(|list| list.iter().map(code).collect())
        .ok_or_else(|| "a list of gRPC codes but OK, such as [\"UNAVAILABLE\"]".to_owned())
}

/// The pairs of times: where only the upper one is given and lies below the
/// default of the lower one, the lower one follows.
fn times(reader: &mut Reader, route: &mut RouteConfig) {
    let half_day = HOUR * 12;
    pair(
        reader,
        ["initial_backoff", "max_backoff"],
        [&mut route.initial_backoff, &mut route.max_backoff],
        [Duration::ZERO, half_day],
    );
    pair(
        reader,
        ["default_expiry", "max_expiry"],
        [&mut route.default_expiry, &mut route.max_expiry],
        [SECOND, DAY * 14],
    );
    pair(
        reader,
        ["default_retention", "max_retention"],
        [&mut route.default_retention, &mut route.max_retention],
        [SECOND, DAY * 3650],
    );
}

fn pair(
    reader: &mut Reader,
    [low, high]: [&'static str; 2],
    [lower, upper]: [&mut Duration; 2],
    [least, most]: [Duration; 2],
) {
    reader.set(high, upper, time(least..=most));
    match reader.read(low, time(least..=most)) {
        Some(given) if given > *upper => {
            let problem = format!("it is longer than {high}");
            reader.complain(reader.at(low), problem, format!("at most {high}"));
        }
        Some(given) => *lower = given,
        None => *lower = (*lower).min(*upper),
    }
}

/// The message of the TOML parser without its quotation of the line, which may
/// hold a key.
pub(super) fn not_toml(file: &str, error: &toml::de::Error) -> ConfigErrors {
    let before = error.span().and_then(|span| file.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    ConfigErrors::one(format!("line {line}"), error.message().trim().to_owned(), "TOML")
}

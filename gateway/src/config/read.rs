//! From text and environment to the configuration.

use super::reader::{Found, Reader, found};
use super::unquoted::unquoted;
use super::values::{bytes, text, time, whole, word};
use super::{
    AuthConfig, Config, ConfigErrors, DAY, LogConfig, LogFormat, MESSAGE_BYTES, StoreConfig,
};
use super::{auth, callbacks, encryption, lambda, limits, protocols, quota, routes, tls};
use crate::callback;
use queuebridge_proto::Keyring;
use queuebridge_proto::job_id::MAX_REPLY_SHARDS;
use std::collections::HashSet;
use std::time::Duration;
use toml::{Table, Value};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

const KEYS: &str = "\"id:base64[,id:base64...]\", the signing key first, \
                    each with an id from 0 to 255 and a secret of at least 16 bytes";
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
    let hosts = protocols::hosts(&mut reader, auth.as_ref());
    let (tls, limits) = (tls::read(&mut reader), limits::read(&mut reader));
    let max_message_bytes = reader.read("max_message_bytes", bytes(MESSAGE_BYTES));
    let max_pending = reader.read("max_pending", whole(1..=1_000_000usize));
    let quota = quota::read(&mut reader);
    let drain_timeout = reader.read("drain_timeout", time(Duration::ZERO..=HOUR));
    let store = store(&mut reader);
    let reply_queues = replies(&mut reader);
    let callbacks = callbacks::read(&mut reader);
    let cors_origins = protocols::origins(&mut reader);
    let descriptor_files = protocols::descriptor_files(&mut reader);
    let invoke_mode = lambda::invoke_mode(&mut reader);
    let base_path = lambda::base_path(&mut reader);
    let encryption = encryption::read(&mut reader);
    let log = log(&mut reader);
    let routes = routes::read(&mut reader);
    let stores = store.as_ref().is_none_or(|store| store.payload_bucket.is_some());
    if !stores && routes.iter().any(|route| route.inline_request_bytes.is_some()) {
        let problem = "there is no store.payload_bucket to put larger requests into";
        reader.complain("route.inline_request_bytes", problem, "no such key, or a bucket");
    }

    for (index, route) in routes.iter().enumerate() {
        let wrong =
            |wanted| callback::check(wanted, callbacks.as_ref().map(|all| all.receivers())).err();
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
                hosts,
                cors_origins,
                descriptor_files,
                invoke_mode,
                base_path,
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

/// The message of the TOML parser without its quotation of the line, which may
/// hold a key.
pub(super) fn not_toml(file: &str, error: &toml::de::Error) -> ConfigErrors {
    let place = error.span().map_or(0, |span| span.start);
    let line = file.get(..place).unwrap_or_default().matches('\n').count() + 1;
    let unquoted = unquoted(file, place).map(|found| found.problem());
    let problem = unquoted.unwrap_or_else(|| error.message().trim().to_owned());
    ConfigErrors::one(format!("line {line}"), problem, "TOML")
}

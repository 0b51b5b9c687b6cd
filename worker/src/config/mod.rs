//! A worker's configuration: the one place that reads the environment.

mod encryption;
mod help;
mod name;
mod queue;
mod sender;
mod telemetry;
mod traces;

pub use encryption::EncryptionConfig;
pub(crate) use help::asked_for;
pub use traces::{OtlpProtocol, Sampler, TracesConfig};

use crate::branch::{Branch, NotABranch};
use crate::callbacks::SenderSettings;
use crate::host::lambda::{BasePath, InvokeMode};
use crate::host::sqs::LONGEST_WAIT;
use crate::runner::Role;
use queue::queue_url;
use queuebridge_proto::Keyring;
use queuebridge_proto::duration::parse_duration;
use queuebridge_web::HostPattern;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Three times the longest retention that SQS has, and a day.
const COPIES_SURVIVE: Duration = Duration::from_secs(43 * 24 * 60 * 60);

/// What a worker needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where work comes from.
    pub host: Host,
    /// The names that its server answers to, beside addresses and `localhost`.
    pub hosts: Vec<HostPattern>,
    /// What the deliveries are.
    pub role: Role,
    /// How answers leave a Lambda function through its URL.
    pub invoke_mode: InvokeMode,
    /// What is taken off the paths of requests to a Lambda function.
    pub base_path: Option<BasePath>,
    /// Which branch it is.
    pub branch: Branch,
    /// The URL of the parking queue.
    pub parking: Option<String>,
    /// The URL of the callback queue.
    pub callbacks: Option<String>,
    /// How callbacks are made.
    pub sender: SenderSettings,
    /// The buckets of the Extended Client Library.
    pub pointed_buckets: Vec<String>,
    /// What jobs need; none in a process that only serves requests.
    pub bridge: Option<Bridge>,
    /// Jobs that run at once.
    pub concurrency: usize,
    /// How long a claim holds without being renewed.
    pub lease: Duration,
    /// How long a shutdown waits for running jobs.
    pub drain_timeout: Duration,
    /// How long one receive waits for messages.
    pub receive_wait: Duration,
    /// What is logged, as `level` or `target=level,…`.
    pub log_filter: String,
    /// The CloudWatch namespace of the metrics, if there are metrics.
    pub metrics: Option<String>,
    /// How traces are exported, if they are.
    pub traces: Option<TracesConfig>,
    /// What is set and not honoured, to be told at the start.
    pub warnings: Vec<String>,
    /// The name of the Lambda function.
    pub function: Option<String>,
}

/// What a worker shares with its gateway.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// Open envelopes.
    pub envelope_keys: Keyring,
    /// The encryption, if there is one.
    pub encryption: Option<EncryptionConfig>,
    /// The table of the result store.
    pub table: String,
    /// The bucket of the payload store.
    pub payload_bucket: Option<String>,
    /// The prefix of every key in the bucket.
    pub payload_prefix: String,
    /// How long a copy of a message can survive.
    pub copies_survive: Duration,
}

/// Where work comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// Lambda pushes it.
    Lambda,
    /// A process of its own, with one of the two or both.
    Container {
        /// The queue of this URL is polled.
        queue_url: Option<String>,
        /// Requests come to this address.
        listen: Option<SocketAddr>,
    },
}

/// Every mistake in the environment, at once. `Debug` is the same text, because a `main` that
/// returns the error shows it by that.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has mistakes:\n  {}", .0.join("\n  "))]
pub struct ConfigErrors(pub Vec<String>);

impl fmt::Debug for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// See [`ConfigErrors`].
    #[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
    pub fn from_process() -> Result<Self, ConfigErrors> {
        Self::from_variables(std::env::vars().collect())
    }

    /// Reads the given variables.
    ///
    /// # Errors
    /// See [`ConfigErrors`].
    pub fn from_variables(variables: BTreeMap<String, String>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let get = |name: &str| variables.get(name).map(String::as_str).filter(|v| !v.is_empty());
        let host = host(&get, &mut errors);
        // A process that only serves requests needs nothing of the bridge.
        let bridged = match &host {
            Host::Container { .. } => get(name::QUEUE_URL).is_some() || get(name::LISTEN).is_none(),
            Host::Lambda => get(name::ENVELOPE_KEYS).is_some() || get(name::TABLE).is_some(),
        };
        let bridge = if bridged { bridge(&get, &mut errors) } else { None };
        let mut time = |name: &str, default: u64| match get(name).map(seconds) {
            None => Duration::from_secs(default),
            Some(Some(value)) if value >= Duration::from_secs(1) => value,
            Some(_) => {
                errors.push(format!("{name}: expected a time of at least 1 s, such as 30s or 5m"));
                Duration::from_secs(default)
            }
        };
        let lease = time(name::LEASE, 30);
        let drain_timeout = time(name::DRAIN_TIMEOUT, 30);
        let receive_wait = match get(name::RECEIVE_WAIT).map(seconds) {
            None => LONGEST_WAIT,
            Some(Some(wait)) if is_whole(wait) && wait <= LONGEST_WAIT => wait,
            Some(_) => {
                let name = name::RECEIVE_WAIT;
                errors.push(format!("{name}: expected whole seconds, from 1s to 20s"));
                LONGEST_WAIT
            }
        };
        let concurrency = match get(name::CONCURRENCY).map(str::parse) {
            None => 100,
            Some(Ok(count)) if (1..=10_000).contains(&count) => count,
            Some(_) => {
                errors.push(format!("{}: expected a number from 1 to 10,000", name::CONCURRENCY));
                100
            }
        };
        let role = match get(name::ROLE) {
            None | Some("jobs") => Role::Jobs,
            Some("dead-letters") => Role::DeadLetters,
            Some("callbacks") => Role::Callbacks,
            Some(_) => {
                errors.push(format!(
                    "{}: expected `jobs`, `dead-letters` or `callbacks`",
                    name::ROLE
                ));
                Role::Jobs
            }
        };
        let invoke_mode = match get(name::INVOKE_MODE) {
            None | Some("BUFFERED") => InvokeMode::Buffered,
            Some("RESPONSE_STREAM") => InvokeMode::ResponseStream,
            Some(_) => {
                let name = name::INVOKE_MODE;
                errors.push(format!("{name}: expected `BUFFERED` or `RESPONSE_STREAM`"));
                InvokeMode::Buffered
            }
        };
        let base_path = get(name::BASE_PATH).map(str::parse).transpose();
        let base_path = base_path.unwrap_or_else(|expected: String| {
            errors.push(format!("{}: expected {expected}", name::BASE_PATH));
            None
        });
        let parking = queue_url(&get, name::PARKING, &mut errors);
        if role != Role::Jobs && get(name::PARKING).is_none() {
            let name = name::PARKING;
            errors.push(format!("{name}: this role needs a queue to park messages in"));
        }
        if parking.as_ref().is_some_and(|url| url.ends_with(".fifo")) {
            errors.push(format!("{}: expected a standard queue, not FIFO", name::PARKING));
        }
        let branch = match get(name::BRANCH).map(str::parse) {
            None => Branch::default(),
            Some(Ok(branch)) => branch,
            Some(Err(wrong)) => {
                let wrong: NotABranch = wrong;
                errors.push(format!("{}: {wrong}", name::BRANCH));
                Branch::default()
            }
        };
        let names = list(get(name::HOSTS));
        let hosts: Result<_, String> = names.iter().map(|name| name.parse()).collect();
        let hosts = hosts.unwrap_or_else(|wrong| {
            errors.push(format!("{}: {wrong}", name::HOSTS));
            Vec::new()
        });
        let callbacks = queue_url(&get, name::CALLBACKS, &mut errors);
        let sender = sender::sender(&get, &mut errors);
        let metrics = telemetry::metrics(&get, host == Host::Lambda, &mut errors);
        let mut warnings = Vec::new();
        let traces = traces::traces(&variables, &mut warnings);
        if !errors.is_empty() {
            return Err(ConfigErrors(errors));
        }
        Ok(Self {
            host,
            hosts,
            bridge,
            role,
            invoke_mode,
            base_path,
            branch,
            parking,
            callbacks,
            sender,
            pointed_buckets: list(get(name::POINTED)),
            concurrency,
            lease,
            drain_timeout,
            receive_wait,
            log_filter: get(name::LOG_FILTER).unwrap_or("info").to_owned(),
            metrics,
            traces,
            warnings,
            function: get(name::FUNCTION).map(str::to_owned),
        })
    }
}

fn host<'a>(get: &impl Fn(&str) -> Option<&'a str>, errors: &mut Vec<String>) -> Host {
    if get(name::RUNTIME_API).is_some() {
        return Host::Lambda;
    }
    let listen = get(name::LISTEN).and_then(|text| match text.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            errors.push(format!("{}: expected an address such as 0.0.0.0:50051", name::LISTEN));
            None
        }
    });
    let queue_url = queue_url(get, name::QUEUE_URL, errors);
    if get(name::QUEUE_URL).is_none() && get(name::LISTEN).is_none() {
        let (queue, listen) = (name::QUEUE_URL, name::LISTEN);
        errors.push(format!("{queue}: give the URL of a queue to poll, or in {listen} an address"));
    }
    Host::Container { queue_url, listen }
}

/// Whether it is one or more whole seconds.
fn is_whole(time: Duration) -> bool {
    time.as_secs() > 0 && time.subsec_nanos() == 0
}

/// Names with commas between them.
fn list(text: Option<&str>) -> Vec<String> {
    let names = text.unwrap_or_default().split(',').map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn bridge<'a>(get: &impl Fn(&str) -> Option<&'a str>, errors: &mut Vec<String>) -> Option<Bridge> {
    let mut missing = |name: &str, what: &str| errors.push(format!("{name}: {what} missing"));
    let table = get(name::TABLE).map(str::to_owned);
    if table.is_none() {
        missing(name::TABLE, "the name of the table is");
    }
    let keys = get(name::ENVELOPE_KEYS).map(Keyring::parse);
    if keys.is_none() {
        missing(name::ENVELOPE_KEYS, "the gateway's envelope keys are");
    }
    let encryption = encryption::encryption(get, errors);
    let copies_survive = match get(name::COPIES_SURVIVE).map(seconds) {
        None => COPIES_SURVIVE,
        Some(Some(time)) if time >= Duration::from_secs(1) => time,
        Some(_) => {
            errors.push(format!("{}: expected a time such as 43d", name::COPIES_SURVIVE));
            COPIES_SURVIVE
        }
    };
    let envelope_keys = match keys? {
        Ok(keys) => keys,
        Err(error) => {
            errors.push(format!("{}: {error}", name::ENVELOPE_KEYS));
            return None;
        }
    };
    Some(Bridge {
        envelope_keys,
        encryption,
        table: table?,
        payload_bucket: get(name::BUCKET).map(str::to_owned),
        payload_prefix: get(name::PREFIX).unwrap_or("queuebridge/").to_owned(),
        copies_survive,
    })
}

/// A time with its units.
fn seconds(text: &str) -> Option<Duration> {
    parse_duration(text).ok()
}

#[cfg(test)]
mod tests;

//! A worker's configuration: the one place that reads the environment.

use crate::callbacks::{Networks, SenderSettings, SigningKeys};
use crate::host::lambda::InvokeMode;
use crate::runner::Role;
use queuebridge_proto::Keyring;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// The variables, with their meanings; `QB_ENVELOPE_KEYS` and `QB_STORE_*` are
/// those of the gateway.
mod name {
    /// Outside of Lambda: where to listen as a gRPC server, such as
    /// `0.0.0.0:50051`.
    pub(super) const LISTEN: &str = "QB_LISTEN";
    /// Outside of Lambda: the queue to poll.
    pub(super) const QUEUE_URL: &str = "QB_QUEUE_URL";
    /// Open envelopes: `id:base64[,…]`, as the gateway has them.
    pub(super) const ENVELOPE_KEYS: &str = "QB_ENVELOPE_KEYS";
    /// The DynamoDB table of the result store.
    pub(super) const TABLE: &str = "QB_STORE_TABLE";
    /// The S3 bucket of the payload store. Without it answers are limited to what
    /// a record can hold.
    pub(super) const BUCKET: &str = "QB_STORE_PAYLOAD_BUCKET";
    /// The prefix of every key in the bucket; default `queuebridge/`.
    pub(super) const PREFIX: &str = "QB_STORE_PAYLOAD_PREFIX";
    /// Seconds for which a copy of a message can survive in its queues; default
    /// 43 days.
    pub(super) const COPIES_SURVIVE: &str = "QB_STORE_COPIES_SURVIVE";
    /// Jobs that run at once; default 100.
    pub(super) const CONCURRENCY: &str = "QB_WORKER_CONCURRENCY";
    /// How long a job of a dead worker is held before it is run again, such as
    /// `30s`; default 30 s, at least 1 s.
    pub(super) const LEASE: &str = "QB_WORKER_LEASE";
    /// How long a shutdown waits for running jobs; default 30 s.
    pub(super) const DRAIN_TIMEOUT: &str = "QB_WORKER_DRAIN_TIMEOUT";
    /// What the deliveries are: `jobs`, which is the default, `dead-letters` or
    /// `callbacks`.
    pub(super) const ROLE: &str = "QB_WORKER_ROLE";
    /// The URL of the standard queue in which messages that failed for good are
    /// parked. Required for the other roles than `jobs`.
    pub(super) const PARKING: &str = "QB_PARKING_QUEUE_URL";
    /// The URL of the callback queue; required for jobs that have callbacks.
    pub(super) const CALLBACKS: &str = "QB_CALLBACK_QUEUE_URL";
    /// In the role `callbacks`: sign them; `whsec_…` and `whsk_…` keys by the Standard
    /// Webhooks specification, with commas between them.
    pub(super) const SIGNING_KEYS: &str = "QB_CALLBACK_SIGNING_KEYS";
    /// What stands before a job's id in the URL of an answer that is too large for a
    /// callback.
    pub(super) const RESULT_URL: &str = "QB_CALLBACK_RESULT_URL";
    /// Networks that may be called although they are not public, such as
    /// `10.1.0.0/16`, with commas between them.
    pub(super) const NETWORKS: &str = "QB_CALLBACK_ALLOW_NETWORKS";
    /// The buckets from which bodies are read that the Extended Client Library has put
    /// there, with commas between them; default: none.
    pub(super) const POINTED: &str = "QB_EXTENDED_CLIENT_BUCKETS";
    /// The invoke mode of the function's URL: `BUFFERED`, which is the default, or
    /// `RESPONSE_STREAM`.
    pub(super) const INVOKE_MODE: &str = "QB_LAMBDA_INVOKE_MODE";
    /// Where metrics go: `emf`, which is the default in a Lambda function, or
    /// `none`, which is the default elsewhere.
    pub(super) const METRICS: &str = "QB_METRICS";
    /// The CloudWatch namespace of the metrics; default `Queuebridge`.
    pub(super) const METRICS_NAMESPACE: &str = "QB_METRICS_NAMESPACE";
    /// The collector of traces, by OpenTelemetry's standard: with one of these,
    /// traces are exported. The other `OTEL_*` variables are read by its library.
    pub(super) const COLLECTOR: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    pub(super) const TRACES_COLLECTOR: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    /// `none` switches traces off, whatever else is set.
    pub(super) const TRACES_EXPORTER: &str = "OTEL_TRACES_EXPORTER";
    /// `true` switches OpenTelemetry off, whatever else is set.
    pub(super) const SDK_DISABLED: &str = "OTEL_SDK_DISABLED";
    /// The name of the function, set by Lambda.
    pub(super) const FUNCTION: &str = "AWS_LAMBDA_FUNCTION_NAME";
    /// Set by Lambda.
    pub(super) const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";
    /// What is logged, as `level` or `target=level,…`; default `info`.
    pub(super) const LOG_FILTER: &str = "QB_LOG_FILTER";
}

/// Three times the longest retention that SQS has, and a day.
const COPIES_SURVIVE: Duration = Duration::from_secs(43 * 24 * 60 * 60);

/// What a worker needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where work comes from.
    pub host: Host,
    /// What the deliveries are.
    pub role: Role,
    /// How answers leave a Lambda function through its URL.
    pub invoke_mode: InvokeMode,
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
    /// What is logged, as `level` or `target=level,…`.
    pub log_filter: String,
    /// The CloudWatch namespace of the metrics, if there are metrics.
    pub metrics: Option<String>,
    /// Whether traces are exported; whereto is said by the `OTEL_*` variables.
    pub traces: bool,
    /// The name of the Lambda function.
    pub function: Option<String>,
}

/// What a worker shares with its gateway.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// Open envelopes.
    pub envelope_keys: Keyring,
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

/// Every mistake in the environment, at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has mistakes:\n  {}", .0.join("\n  "))]
pub struct ConfigErrors(pub Vec<String>);

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
            Host::Container { queue_url, .. } => queue_url.is_some() || get(name::LISTEN).is_none(),
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
        let parking = get(name::PARKING);
        if role != Role::Jobs && parking.is_none() {
            let name = name::PARKING;
            errors.push(format!("{name}: this role needs a queue to park messages in"));
        }
        if parking.is_some_and(|url| url.ends_with(".fifo")) {
            errors.push(format!("{}: expected a standard queue, not FIFO", name::PARKING));
        }
        let sender = sender(&get, &mut errors);
        let metrics = metrics(&get, host == Host::Lambda, &mut errors);
        if !errors.is_empty() {
            return Err(ConfigErrors(errors));
        }
        Ok(Self {
            host,
            bridge,
            role,
            invoke_mode,
            parking: parking.map(str::to_owned),
            callbacks: get(name::CALLBACKS).map(str::to_owned),
            sender,
            pointed_buckets: list(get(name::POINTED)),
            concurrency,
            lease,
            drain_timeout,
            log_filter: get(name::LOG_FILTER).unwrap_or("info").to_owned(),
            metrics,
            traces: traces(&get),
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
    let queue_url = get(name::QUEUE_URL).map(str::to_owned);
    if queue_url.is_none() && get(name::LISTEN).is_none() {
        let (queue, listen) = (name::QUEUE_URL, name::LISTEN);
        errors.push(format!("{queue}: give the URL of a queue to poll, or in {listen} an address"));
    }
    Host::Container { queue_url, listen }
}

fn sender<'a>(get: &impl Fn(&str) -> Option<&'a str>, errors: &mut Vec<String>) -> SenderSettings {
    let signing_keys = get(name::SIGNING_KEYS).map(SigningKeys::parse).transpose();
    let signing_keys = signing_keys.unwrap_or_else(|error| {
        errors.push(format!("{}: {error}", name::SIGNING_KEYS));
        None
    });
    let networks = get(name::NETWORKS).unwrap_or_default().split(',').map(str::trim);
    let networks: Result<Vec<_>, _> =
        networks.filter(|text| !text.is_empty()).map(str::parse).collect();
    let networks = networks.unwrap_or_else(|_| {
        errors.push(format!("{}: expected networks such as 10.1.0.0/16", name::NETWORKS));
        Vec::new()
    });
    SenderSettings {
        signing_keys,
        networks: Networks::public_and(networks),
        result_url: get(name::RESULT_URL).map(str::to_owned),
    }
}

/// Names with commas between them.
fn list(text: Option<&str>) -> Vec<String> {
    let names = text.unwrap_or_default().split(',').map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn traces<'a>(get: &impl Fn(&str) -> Option<&'a str>) -> bool {
    let collector = get(name::COLLECTOR).or(get(name::TRACES_COLLECTOR));
    let disabled = get(name::SDK_DISABLED).is_some_and(|v| v.eq_ignore_ascii_case("true"));
    collector.is_some() && !disabled && get(name::TRACES_EXPORTER) != Some("none")
}

fn metrics<'a>(
    get: &impl Fn(&str) -> Option<&'a str>,
    in_lambda: bool,
    errors: &mut Vec<String>,
) -> Option<String> {
    let namespace = get(name::METRICS_NAMESPACE).unwrap_or("Queuebridge");
    // What CloudWatch takes as a namespace; `AWS/` is its own.
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_/#:".contains(c);
    if namespace.len() > 255 || !namespace.chars().all(fits) || namespace.starts_with("AWS/") {
        errors.push(format!(
            "{}: expected up to 255 letters, digits and `.-_/#:`, and not `AWS/` in front",
            name::METRICS_NAMESPACE
        ));
    }
    let on = match get(name::METRICS) {
        None => in_lambda,
        Some("emf") => true,
        Some("none") => false,
        Some(_) => {
            errors.push(format!("{}: expected `emf` or `none`", name::METRICS));
            false
        }
    };
    on.then(|| namespace.to_owned())
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
        table: table?,
        payload_bucket: get(name::BUCKET).map(str::to_owned),
        payload_prefix: get(name::PREFIX).unwrap_or("queuebridge/").to_owned(),
        copies_survive,
    })
}

/// `250ms`, `30s`, `5m`, `12h`, `30d`.
fn seconds(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().ok()?;
    let scale = match unit {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    number.checked_mul(scale).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        Config::from_variables(
            variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        )
    }

    const KEYS: (&str, &str) = ("QB_ENVELOPE_KEYS", "1:MDEyMzQ1Njc4OWFiY2RlZg==");

    #[test]
    fn the_environment_chooses_the_host() {
        let table = ("QB_STORE_TABLE", "t");
        let polled = read(&[KEYS, table, ("QB_QUEUE_URL", "http://q")]).unwrap();
        let host = Host::Container { queue_url: Some("http://q".into()), listen: None };
        assert_eq!(polled.host, host);
        let lambda = read(&[KEYS, table, ("AWS_LAMBDA_RUNTIME_API", "h:1")]).unwrap();
        assert_eq!(lambda.host, Host::Lambda);
    }

    #[test]
    fn what_only_serves_requests_needs_nothing_of_the_bridge() {
        let listen = ("QB_LISTEN", "127.0.0.1:0");
        assert!(read(&[listen]).unwrap().bridge.is_none());
        assert!(read(&[("AWS_LAMBDA_RUNTIME_API", "h:1")]).unwrap().bridge.is_none());
        let both = read(&[listen, ("QB_QUEUE_URL", "q"), KEYS]).unwrap_err().0;
        assert_eq!(both.len(), 1, "the table: {both:?}");
        assert_eq!(read(&[("AWS_LAMBDA_RUNTIME_API", "h:1"), KEYS]).unwrap_err().0.len(), 1);
        assert_eq!(read(&[("QB_LISTEN", "here")]).unwrap_err().0.len(), 1);
        assert!(read(&[]).unwrap_err().0[0].contains("QB_LISTEN"));
    }

    #[test]
    fn metrics_are_on_in_lambda_and_off_elsewhere_unless_somebody_says_so() {
        let metrics = |more: &[(&str, &str)]| read(more).map(|config| config.metrics);
        let (lambda, container) = (("AWS_LAMBDA_RUNTIME_API", "h:1"), ("QB_LISTEN", "[::1]:1"));
        assert_eq!(metrics(&[lambda]).unwrap().as_deref(), Some("Queuebridge"));
        assert_eq!(metrics(&[lambda, ("QB_METRICS", "none")]).unwrap(), None);
        assert_eq!(metrics(&[container]).unwrap(), None);
        let named = [container, ("QB_METRICS", "emf"), ("QB_METRICS_NAMESPACE", "Shop/Jobs")];
        assert_eq!(metrics(&named).unwrap().as_deref(), Some("Shop/Jobs"));
        for wrong in [("QB_METRICS", "all"), ("QB_METRICS_NAMESPACE", "AWS/SQS")] {
            assert_eq!(metrics(&[lambda, wrong]).unwrap_err().0.len(), 1, "{wrong:?}");
        }
    }

    #[test]
    fn traces_are_on_with_a_collector_unless_they_are_switched_off() {
        let traces = |more: &[(&str, &str)]| {
            read(&[&[("QB_LISTEN", "[::1]:1")], more].concat()).unwrap().traces
        };
        let collector = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");
        assert!(!traces(&[]));
        assert!(traces(&[collector]));
        assert!(traces(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://localhost:4318/x")]));
        assert!(!traces(&[collector, ("OTEL_SDK_DISABLED", "TRUE")]));
        assert!(!traces(&[collector, ("OTEL_TRACES_EXPORTER", "none")]));
    }

    #[test]
    fn dead_letters_need_a_standard_queue_to_be_parked_in() {
        let role = |more: &[(&str, &str)]| {
            let table = ("QB_STORE_TABLE", "t");
            let base = [KEYS, table, ("QB_QUEUE_URL", "q"), ("QB_WORKER_ROLE", "dead-letters")];
            read(&[&base[..], more].concat())
        };
        let parking = "QB_PARKING_QUEUE_URL";
        assert_eq!(role(&[(parking, "https://q/p")]).unwrap().role, Role::DeadLetters);
        for mistake in [&[][..], &[(parking, "https://q/p.fifo")], &[("QB_WORKER_ROLE", "boss")]] {
            assert_eq!(role(mistake).unwrap_err().0.len(), 1, "{mistake:?}");
        }
    }

    #[test]
    fn every_mistake_is_reported_at_once_and_no_secret_is_shown() {
        let errors = read(&[
            ("QB_QUEUE_URL", "q"),
            ("QB_WORKER_ROLE", "boss"),
            ("QB_ENVELOPE_KEYS", "1:c2hvcnQ="),
            ("QB_WORKER_LEASE", "soon"),
            ("QB_WORKER_CONCURRENCY", "0"),
        ]);
        let errors = errors.unwrap_err().0;
        assert_eq!(errors.len(), 5, "{errors:?}");
        assert!(!errors.concat().contains("c2hvcnQ"));
        let config = read(&[KEYS, ("QB_STORE_TABLE", "t"), ("QB_QUEUE_URL", "q")]).unwrap();
        assert!(!format!("{config:?}").contains("MDEy"));
    }

    #[test]
    fn times_have_units() {
        assert_eq!(seconds("90s"), Some(Duration::from_secs(90)));
        assert_eq!(seconds("2d"), Some(Duration::from_secs(172_800)));
        for bad in ["", "s", "5", "5 s", "-1s", "99999999999999999999s", "1w"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}

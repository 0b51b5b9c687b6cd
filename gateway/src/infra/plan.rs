//! What a configuration names, as what is to be deployed.

mod routes;

use super::Settings;
use super::names::{self, Ids, Place, arn};
use crate::config::{
    AuthConfig, ClientCertificates, Config, ConfigErrors, Mistake, TlsConfig, UpstreamTarget,
};
use queuebridge_store::encryption::MasterKeyName;
use std::collections::HashSet;
use std::time::Duration;

const DAY: u64 = 24 * 60 * 60;
/// What SQS keeps at most, in seconds: the retention of dead letters and parked messages.
const LONGEST_RETENTION: u64 = 14 * DAY;
/// Fargate waits no longer for a container that is told to stop.
const STOP: Duration = Duration::from_secs(120);

/// What is to be deployed. Names may contain `${AWS::AccountId}` and `${AWS::Region}`.
#[derive(Debug)]
pub(super) struct Plan {
    /// How the templates were made.
    pub(super) made: String,
    /// What names begin with that the configuration does not name.
    pub(super) name: String,
    pub(super) queues: Vec<JobQueue>,
    pub(super) topics: Vec<Topic>,
    pub(super) parking: String,
    pub(super) replies: Vec<String>,
    pub(super) callbacks: Option<Callbacks>,
    pub(super) table: String,
    pub(super) bucket: Option<Bucket>,
    /// Other than the default, which every program has.
    pub(super) copies_survive: Option<Duration>,
    /// The ARNs of the master keys of what is encrypted before it is sent.
    pub(super) master_keys: Vec<String>,
    /// Whether workers refuse what is not encrypted so.
    pub(super) encryption_required: bool,
    /// The ARNs of functions that the gateway calls.
    pub(super) functions: Vec<String>,
    /// The ports of gRPC servers that the gateway calls, without 443.
    pub(super) upstream_ports: Vec<u16>,
    /// Where the gateway listens.
    pub(super) port: u16,
    /// Whether it asks nobody who they are.
    pub(super) is_open: bool,
    /// Whether it speaks TLS itself.
    pub(super) has_tls: bool,
    /// The configuration's file, of this account and region.
    pub(super) text: String,
    pub(super) batch_size: u32,
    pub(super) batch_window: u64,
}

/// A queue of jobs with its dead letters and its worker.
#[derive(Debug)]
pub(super) struct JobQueue {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) dead: String,
    /// What it is for, for people.
    pub(super) what: String,
    /// In seconds.
    pub(super) retention: u64,
    /// The longest invocation of its worker function, in seconds.
    pub(super) timeout: u64,
    /// The branch of its worker, and the topic that it comes from, by its index.
    pub(super) topic: Option<(usize, String)>,
}

/// A topic of branches.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) what: String,
}

#[derive(Debug)]
pub(super) struct Callbacks {
    pub(super) queue: String,
    /// The ARNs of whom it may tell.
    pub(super) tell_queues: Vec<String>,
    pub(super) tell_topics: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) name: String,
    pub(super) prefix: String,
    /// The age at which objects are deleted.
    pub(super) days: u64,
}

impl JobQueue {
    pub(super) fn is_fifo(&self) -> bool {
        self.name.ends_with(".fifo")
    }

    /// What AWS asks for: six invocations and the window, in seconds, so that a throttled
    /// batch is tried again before its messages come back.
    pub(super) fn visibility(&self, window: u64) -> u64 {
        6 * self.timeout + if self.is_fifo() { 0 } else { window }
    }
}

/// Whose the deployment is, and what is wrong with that.
struct Reader {
    home: Option<(String, String)>,
    mistakes: Vec<Mistake>,
}

impl Reader {
    fn complain(&mut self, place: &str, problem: impl Into<String>, expected: impl Into<String>) {
        let (place, problem, expected) = (place.to_owned(), problem.into(), expected.into());
        self.mistakes.push(Mistake { place, problem, expected });
    }

    /// The name of a queue or topic that is to be made; all are of one account and region.
    fn own(
        &mut self,
        place: &str,
        text: &str,
        found: Option<Place>,
        expected: &str,
    ) -> Option<String> {
        let Some(found) = found else {
            self.complain(place, format!("found \"{text}\""), expected);
            return None;
        };
        let home = (found.account, found.region);
        let first = self.home.get_or_insert_with(|| home.clone());
        if *first != home {
            let (account, region) = first.clone();
            let problem = format!("it is in account {} and {}", home.0, home.1);
            self.complain(
                place,
                problem,
                format!("account {account} and {region}, like the others"),
            );
        }
        Some(found.name)
    }

    fn queue(&mut self, place: &str, url: &str) -> Option<String> {
        let expected = "https://sqs.REGION.amazonaws.com/ACCOUNT/NAME, of a queue to be made";
        self.own(place, url, names::queue(url), expected)
    }

    fn topic(&mut self, place: &str, arn: &str) -> Option<String> {
        let expected = "arn:aws:sns:REGION:ACCOUNT:NAME, of a topic to be made";
        self.own(place, arn, names::topic(arn), expected)
    }

    /// The ARN of a queue or topic that is there already.
    fn foreign(&self, service: &str, place: Place) -> String {
        let Place { region, account, name } = place;
        if self.home.as_ref() == Some(&(account.clone(), region.clone())) {
            return arn(service, &name);
        }
        format!("arn:${{AWS::Partition}}:{service}:{region}:{account}:{name}")
    }

    /// The text of this account and region, for `!Sub`.
    fn at_home(&self, text: &str) -> String {
        let text = text.replace("${", "${!");
        match &self.home {
            Some((account, region)) => {
                text.replace(account, "${AWS::AccountId}").replace(region, "${AWS::Region}")
            }
            None => text,
        }
    }
}

impl Plan {
    /// # Errors
    /// Why it cannot be deployed.
    pub(super) fn new(
        text: &str,
        config: &Config,
        settings: &Settings,
    ) -> Result<Self, ConfigErrors> {
        let mut reader = Reader { home: None, mistakes: Vec::new() };
        check(&mut reader, text, config, settings);
        let mut ids = Ids::without(&["Parking", "Callbacks", "DeadLetters", "Gateway"]);
        let (queues, topics) = routes::read(&mut reader, &mut ids, config, settings);
        let shard =
            |(index, url): (usize, &String)| reader.queue(&format!("replies.queues[{index}]"), url);
        let replies = config.reply_queues.iter().enumerate().filter_map(shard).collect();
        let callbacks = callbacks(&mut reader, config);
        let longest = queues.iter().map(|queue| queue.retention).max().unwrap_or_default();
        let copies = config.store.copies_survive;
        if !queues.is_empty() && copies.as_secs() < longest + 2 * LONGEST_RETENTION {
            reader.complain(
                "store.copies_survive",
                "a copy of a message survives longer in the queues",
                format!("at least {}d", (longest + 2 * LONGEST_RETENTION).div_ceil(DAY)),
            );
        }
        let results =
            config.routes.iter().map(|route| (route.max_expiry + route.max_retention).as_secs());
        let days = results.max().unwrap_or_default().max(copies.as_secs()).div_ceil(DAY) + 1;
        let prefix = config.store.payload_prefix.clone();
        let bucket = config.store.payload_bucket.as_ref();
        let bucket = bucket.map(|name| Bucket { name: reader.at_home(name), prefix, days });
        let (functions, upstream_ports) = upstreams(&reader, config);
        let master_keys = master_keys(&mut reader, config);
        if !reader.mistakes.is_empty() {
            return Err(ConfigErrors(reader.mistakes));
        }
        Ok(Self {
            made: settings.made.clone(),
            name: settings.name.clone(),
            queues,
            topics,
            parking: format!("{}-parked", settings.name),
            replies,
            callbacks,
            table: reader.at_home(&config.store.table),
            bucket,
            copies_survive: (copies != Duration::from_secs(43 * DAY)).then_some(copies),
            master_keys,
            encryption_required: config.encryption.as_ref().is_some_and(|e| e.required),
            functions,
            upstream_ports,
            port: config.listen.port(),
            has_tls: config.tls.is_some(),
            is_open: config.auth == AuthConfig::None,
            text: reader.at_home(text),
            batch_size: settings.batch_size,
            batch_window: settings.batch_window.as_secs(),
        })
    }
}

/// The callback queue, and whom its sender may tell: the targets of the deployment and of
/// all its tenants. Those may be anybody's.
fn callbacks(reader: &mut Reader, config: &Config) -> Option<Callbacks> {
    let callbacks = config.callbacks.as_ref()?;
    let queue = reader.queue("callbacks.queue", &callbacks.queue)?;
    let (mut tell_queues, mut tell_topics) = (Vec::new(), Vec::new());
    let shared = ("callbacks.targets".to_owned(), &callbacks.targets);
    let own = callbacks
        .tenants
        .iter()
        .map(|(tenant, own)| (format!("callbacks.tenant: targets of \"{tenant}\""), &own.targets));
    let each = std::iter::once(shared).chain(own).flat_map(|(place, targets)| {
        let at = move |(index, target)| (format!("{place}[{index}]"), target);
        targets.iter().enumerate().map(at)
    });
    for (place, target) in each {
        if let Some(queue) = names::queue(target) {
            tell_queues.push(reader.foreign("sqs", queue));
        } else if let Some(topic) = names::topic(target) {
            tell_topics.push(reader.foreign("sns", topic));
        } else {
            let expected = "the URL of a queue or the ARN of a topic on AWS";
            reader.complain(&place, format!("found \"{target}\""), expected);
        }
    }
    // Several tenants may tell the same one.
    for arns in [&mut tell_queues, &mut tell_topics] {
        let mut known = HashSet::new();
        arns.retain(|arn| known.insert(arn.clone()));
    }
    Some(Callbacks { queue, tell_queues, tell_topics })
}

/// The keys of KMS. A key with its secret in the file is none of these.
fn master_keys(reader: &mut Reader, config: &Config) -> Vec<String> {
    let mut arns = Vec::new();
    for (index, key) in config.encryption.iter().flat_map(|all| &all.keys).enumerate() {
        match key {
            MasterKeyName::Kms { arn, .. } => arns.push(reader.at_home(arn)),
            MasterKeyName::Local { .. } => {
                let place = format!("encryption.keys[{index}]");
                let expected = "the ARN of a KMS key: templates are no place for secrets";
                reader.complain(&place, "it is a secret", expected);
            }
        }
    }
    arns
}

/// What is right for a gateway anywhere and not for one in these templates.
fn check(reader: &mut Reader, text: &str, config: &Config, settings: &Settings) {
    let file: toml::Table = toml::from_str(text).unwrap_or_default();
    for secret in ["job_id_keys", "envelope_keys"] {
        if file.contains_key(secret) {
            let expected = "no such key in the file: templates are no place for secrets";
            reader.complain(secret, "it is a secret", expected);
        }
    }
    if config.listen.ip().is_loopback() {
        let problem = format!("{} is reached from nowhere else", config.listen.ip());
        reader.complain("listen", problem, format!("\"0.0.0.0:{}\"", config.listen.port()));
    }
    if config.auth == AuthConfig::None && config.hosts.is_empty() {
        let problem = "callers of a load balancer name the host of its certificate";
        reader.complain("hosts", problem, "that name, such as [\"gateway.example.com\"]");
    }
    let asked = |tls: &&TlsConfig| tls.client_ca.is_some();
    if config
        .tls
        .as_ref()
        .filter(asked)
        .is_some_and(|tls| tls.client_certificates == ClientCertificates::Required)
    {
        let problem = "a load balancer has no certificate to show";
        reader.complain("tls.client_certificates", problem, "\"optional\", or no tls.client_ca");
    }
    if config.drain_timeout >= STOP {
        reader.complain("drain_timeout", "Fargate stops containers after 120s", "at most 119s");
    }
    let name = &settings.name;
    let legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if name.is_empty() || name.len() > 20 || !name.bytes().all(legal) || name.starts_with('-') {
        reader.complain(
            "--name",
            format!("found \"{name}\""),
            "1 to 20 characters of a-z, 0-9 and -",
        );
    }
    if settings.batch_size > 10 && settings.batch_window.is_zero() {
        reader.complain(
            "--batch-size",
            "it is above 10",
            "a --batch-window of at least 1s with it",
        );
    }
}

/// The functions and the ports of servers that calls go to directly.
fn upstreams(reader: &Reader, config: &Config) -> (Vec<String>, Vec<u16>) {
    let (mut functions, mut ports) = (Vec::new(), Vec::new());
    for upstream in config.routes.iter().filter_map(|route| route.upstream.as_ref()) {
        match &upstream.target {
            UpstreamTarget::Lambda { function } if function.starts_with("arn:") => {
                functions.push(reader.at_home(function));
            }
            UpstreamTarget::Lambda { function } => {
                functions.push(arn("lambda", &format!("function:{function}")));
            }
            UpstreamTarget::Grpc { url, .. } => {
                let usual = if url.scheme_str() == Some("https") { 443 } else { 80 };
                ports.push(url.port_u16().unwrap_or(usual));
            }
        }
    }
    functions.sort();
    functions.dedup();
    ports.sort_unstable();
    ports.dedup();
    ports.retain(|port| *port != 443);
    (functions, ports)
}

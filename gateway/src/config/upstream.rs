//! Routes whose calls go directly to a service, without a queue, or before one.

use super::reader::{Found, Reader, found};
use super::values::{has_right_port, whole, word};
use super::{Destination, RouteConfig, upstream_tls};
use crate::trust::Trust;
use http::Uri;
use std::fmt;
use std::ops::RangeInclusive;
use toml::{Table, Value};

const UPSTREAM: &str = "\"http://host:port\", \"https://host:port\", the ARN of a Lambda function, \
                        { grpc = \"…\", connections = 2 } or { lambda = \"name or ARN\" }";
/// Two use both sides of a connection's flow control in parallel; more than 64 is
/// a load balancer's work.
const CONNECTIONS: usize = 2;
const CONNECTIONS_RANGE: RangeInclusive<usize> = 1..=64;

/// Where the calls of a route go directly, and which of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// The service.
    pub target: UpstreamTarget,
    /// Which calls it takes. Default: all.
    pub takes: UpstreamTakes,
}

/// A service that is called directly.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamTarget {
    /// A gRPC server.
    Grpc {
        /// `http://host:port`, or with TLS `https://host:port`.
        url: Uri,
        /// How many connections are held to each address, 1 to 64. Default: 2.
        connections: usize,
        /// Whom it must be signed by, and what it is shown, by `https`. Read for every
        /// connection that is made. Default: the authorities of the system, and nothing.
        trust: Trust,
    },
    /// A Lambda function, by its name or ARN, invoked synchronously.
    Lambda {
        /// What the Invoke API takes as `FunctionName`.
        function: String,
    },
}

/// Which of the calls that come as gRPC go to a route's upstream. Jobs always go to
/// the route's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamTakes {
    /// All of them.
    All,
    /// Those that are not unary; the others go to the queue.
    Streams,
    /// All, but for those that it has certainly not run because it is down or
    /// refuses them: these go to the queue.
    WhatItCan,
}

impl UpstreamConfig {
    /// An upstream for all calls.
    #[must_use]
    pub fn new(target: UpstreamTarget) -> Self {
        Self { target, takes: UpstreamTakes::All }
    }
}

impl UpstreamTarget {
    /// A gRPC server over the default number of connections.
    #[must_use]
    pub fn grpc(url: Uri) -> Self {
        Self::Grpc { url, connections: CONNECTIONS, trust: Trust::default() }
    }
}

impl UpstreamTakes {
    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Streams => "streams",
            Self::WhatItCan => "what_it_can",
        }
    }
}

/// As it stands in the configuration.
impl fmt::Display for UpstreamTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| Value::String(text.to_owned()).to_string();
        match self {
            Self::Grpc { url, connections, trust } => {
                let url = url.to_string();
                let url = quoted(url.strip_suffix('/').unwrap_or(&url));
                let files = upstream_tls::show(trust);
                write!(f, "{{ grpc = {url}, connections = {connections}{files} }}")
            }
            Self::Lambda { function } => write!(f, "{{ lambda = {} }}", quoted(function)),
        }
    }
}

/// Reads the upstream of a route, if it has one.
pub(super) fn read(reader: &mut Reader) -> Option<UpstreamConfig> {
    let given = reader.take("upstream");
    let has_upstream = given.is_some();
    let all = [UpstreamTakes::All, UpstreamTakes::Streams, UpstreamTakes::WhatItCan];
    let takes = reader.read("upstream_takes", word(&all.map(|takes| (takes.name(), takes))));
    if takes.is_some() && !has_upstream {
        let problem = "there is no upstream";
        reader.complain(reader.at("upstream_takes"), problem, "no such key, or an upstream");
    }
    let target = target(reader, given?)?;
    Some(UpstreamConfig { target, takes: takes.unwrap_or(UpstreamTakes::All) })
}

fn target(reader: &mut Reader, Found { place, value }: Found) -> Option<UpstreamTarget> {
    let target = match &value {
        Value::String(text) if text.starts_with("arn:") => lambda(text),
        Value::String(text) => grpc(text),
        Value::Table(table) => return of_table(reader, table.clone(), &place),
        _ => None,
    };
    if target.is_none() {
        reader.complain(place, found(&value), UPSTREAM);
    }
    target
}

fn of_table(reader: &mut Reader, table: Table, place: &str) -> Option<UpstreamTarget> {
    let mut inner = Reader::nested(table, place);
    let one = |inner: &mut Reader, path, expected, parse: fn(&str) -> Option<UpstreamTarget>| {
        let value = |value: &Value| value.as_str().and_then(parse).ok_or(String::from(expected));
        (inner.has(path), inner.read(path, value))
    };
    let (has_grpc, grpc) = one(&mut inner, "grpc", "http://host:port or https://host:port", grpc);
    let (has_lambda, lambda) = one(&mut inner, "lambda", "the name or ARN of a function", lambda);
    let connections = inner.read("connections", whole(CONNECTIONS_RANGE));
    let secure = matches!(&grpc, Some(UpstreamTarget::Grpc { url, .. })
        if url.scheme_str() == Some("https"));
    let trust = upstream_tls::read(&mut inner, secure);
    match (has_grpc, has_lambda) {
        (true, true) => {
            let problem = "there is a gRPC server as well";
            inner.complain(inner.at("lambda"), problem, "only one of the two");
        }
        (false, false) => inner.missing("grpc", "a gRPC server or a Lambda function"),
        (false, true) if connections.is_some() => {
            let problem = "a function has no connections";
            inner.complain(inner.at("connections"), problem, "no such key");
        }
        _ => {}
    }
    reader.absorb(inner);
    match grpc {
        Some(UpstreamTarget::Grpc { url, .. }) => {
            let connections = connections.unwrap_or(CONNECTIONS);
            Some(UpstreamTarget::Grpc { url, connections, trust })
        }
        other => other.or(lambda),
    }
}

/// Only scheme, host and port: the path is the method's.
fn grpc(text: &str) -> Option<UpstreamTarget> {
    let url: Uri = text.parse().ok()?;
    let scheme = matches!(url.scheme_str(), Some("http" | "https"));
    let authority = url.authority()?;
    let plain = url.path_and_query().is_none_or(|rest| matches!(rest.as_str(), "" | "/"));
    let named = !authority.host().is_empty() && !text.contains('@') && has_right_port(authority);
    (scheme && plain && named).then(|| UpstreamTarget::grpc(url))
}

/// A name with its qualifier, or a full or partial ARN: the Invoke API knows better.
fn lambda(text: &str) -> Option<UpstreamTarget> {
    let legal = |c: u8| c.is_ascii_alphanumeric() || b"-_:$./".contains(&c);
    let arn = !text.starts_with("arn:") || text.split(':').nth(2) == Some("lambda");
    let right = (1..=170).contains(&text.len()) && text.bytes().all(legal) && arn;
    right.then(|| UpstreamTarget::Lambda { function: text.to_owned() })
}

/// The keys of jobs, which a route without a queue does not have.
const OF_JOBS: [&str; 20] = [
    "guarantee",
    "lease_policy",
    "max_attempts",
    "retry_on",
    "initial_backoff",
    "max_backoff",
    "default_expiry",
    "max_expiry",
    "default_retention",
    "max_retention",
    "inline_request_bytes",
    "announce",
    "callback",
    "gather",
    "modes",
    "budget",
    "when_abandoned",
    "attach_within",
    "ignored_metadata",
    "deterministic",
];

/// The keys of jobs in a table that has not been read yet.
pub(super) fn keys_of_jobs(reader: &Reader) -> Vec<&'static str> {
    OF_JOBS.into_iter().filter(|key| reader.has(key)).collect()
}

/// Reports what an upstream and the lack of a queue make wrong.
pub(super) fn check(reader: &mut Reader, route: &RouteConfig, of_jobs: &[&str]) {
    if route.destination != Destination::None {
        return;
    }
    for key in of_jobs {
        let problem = "the route has no jobs without a queue";
        reader.complain(reader.at(key), problem, "no such key, or a queue");
    }
    let takes = route.upstream.as_ref().map(|upstream| upstream.takes);
    if takes.is_some_and(|takes| takes != UpstreamTakes::All) {
        let problem = "there is no queue for the other calls";
        reader.complain(reader.at("upstream_takes"), problem, "\"all\", or a queue");
    }
}

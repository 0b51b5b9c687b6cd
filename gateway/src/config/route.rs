//! What the configuration says about a set of methods.

use super::{CallConfig, FanOut, MethodPattern, UpstreamConfig};
use queuebridge_proto::v1::Callback;
use std::fmt;
use std::time::Duration;
use tonic::Code;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What happens to the jobs of a set of methods.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteConfig {
    /// The methods.
    pub methods: MethodPattern,
    /// Where their messages go.
    pub destination: Destination,
    /// The service that is called directly. Default: none; then all calls are jobs.
    pub upstream: Option<UpstreamConfig>,
    /// What is promised. Default: claimed.
    pub guarantee: Guarantee,
    /// What a lease that ran out means; without a meaning for a route that is
    /// not claimed. Default: retry.
    pub lease_policy: LeasePolicy,
    /// Attempts before a job is finished as failed, 1 to 100. Default: 5.
    pub max_attempts: u32,
    /// The codes of a handler's answer that are worth a further attempt.
    /// Default: `UNAVAILABLE` and `ABORTED`.
    pub retry_on: Vec<Code>,
    /// The pause before the second attempt; it doubles. Default: 1 s.
    pub initial_backoff: Duration,
    /// The longest pause, at most 12 h, which is the longest that SQS keeps a
    /// message invisible. Default: 5 min.
    pub max_backoff: Duration,
    /// The work expiry of a job that names none. Default: 1 h.
    pub default_expiry: Duration,
    /// The latest work expiry that a job may name, at most 14 d, which is the
    /// longest that SQS keeps a message. Default: 4 d, as SQS does by default.
    pub max_expiry: Duration,
    /// The result retention of a job that names none. Default: 1 d.
    pub default_retention: Duration,
    /// The longest result retention that a job may name. Default: 30 d.
    pub max_retention: Duration,
    /// The largest request in bytes. Unset: what the queue or topic, or the
    /// payload store, can take.
    pub max_request_bytes: Option<usize>,
    /// Requests above this size go to the payload store although a message could carry
    /// them. Unset: what a message can carry travels in it.
    pub inline_request_bytes: Option<usize>,
    /// Whether the ends of the jobs are announced on the gateway's reply shard:
    /// those who wait are answered at once, for the price of up to three queue
    /// requests a job. Without it they poll the store. Default: yes.
    pub announce: bool,
    /// Whom to tell when a job is finished whose submission names nobody. Default:
    /// nobody.
    pub callback: Option<Callback>,
    /// The branches to which every job goes. Default: none; then it goes to one worker.
    pub fan_out: Option<FanOut>,
    /// How calls are answered that come as they are, and not as submissions.
    pub calls: CallConfig,
}

impl RouteConfig {
    /// A route with the defaults.
    #[must_use]
    pub fn new(methods: MethodPattern, destination: Destination) -> Self {
        Self {
            methods,
            destination,
            upstream: None,
            guarantee: Guarantee::Claimed,
            lease_policy: LeasePolicy::Retry,
            max_attempts: 5,
            retry_on: vec![Code::Unavailable, Code::Aborted],
            initial_backoff: Duration::from_secs(1),
            max_backoff: MINUTE * 5,
            default_expiry: HOUR,
            max_expiry: DAY * 4,
            default_retention: DAY,
            max_retention: DAY * 30,
            max_request_bytes: None,
            inline_request_bytes: None,
            announce: true,
            callback: None,
            fan_out: None,
            calls: CallConfig::default(),
        }
    }

    /// Whether its queues, or its topic, keep the order of a group.
    #[must_use]
    pub fn is_fifo(&self) -> bool {
        let branches = self.fan_out.iter().flat_map(|fan_out| &fan_out.branches);
        let mut queues = branches.filter_map(|branch| branch.queue.as_deref());
        self.destination.is_fifo() || queues.any(|queue| queue.ends_with(".fifo"))
    }
}

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// An SQS queue, by its URL.
    Queue(String),
    /// An SNS topic, by its ARN.
    Topic(String),
    /// The queues of the route's branches, one for each.
    Branches,
    /// Nowhere: all calls go to the route's upstream, and jobs are refused.
    None,
}

impl Destination {
    /// The URL or ARN; empty for the queues of branches, and for none.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Queue(name) | Self::Topic(name) => name,
            Self::Branches | Self::None => "",
        }
    }

    /// Whether it keeps the order of a group: AWS requires the ending `.fifo`
    /// of such a name and of no other.
    #[must_use]
    pub fn is_fifo(&self) -> bool {
        self.name().ends_with(".fifo")
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is promised for the jobs of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// At most one live lease, one outcome; Cancel and progress work.
    Claimed,
    /// No claim and one write: a job may run again, and the first completion
    /// wins. Cancel is refused.
    AtLeastOnce,
}

impl Guarantee {
    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::AtLeastOnce => "at_least_once",
        }
    }
}

/// What becomes of a job whose worker held the claim and was not heard of again
/// before its lease ran out. Nobody can know how far it had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeasePolicy {
    /// The next delivery is the next attempt. Side effects may be repeated.
    Retry,
    /// The job has failed, with reason `WORKER_LOST`.
    Fail,
    /// Nobody runs it again: its message is parked for a person.
    Hold,
}

impl LeasePolicy {
    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Fail => "fail",
            Self::Hold => "hold",
        }
    }
}

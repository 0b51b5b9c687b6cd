//! The configuration: one TOML file, every value of which an environment
//! variable can override.
//!
//! Everything is read and checked before the first socket opens; all mistakes
//! are reported at once; no report and no print contains a secret.

mod auth;
mod callbacks;
mod calls;
mod client;
mod codes;
mod encryption;
mod error;
mod fan_out;
mod given;
mod infra;
mod lambda;
mod limits;
mod pattern;
mod protocols;
mod quota;
mod read;
mod reader;
mod replay;
mod route;
mod routes;
mod show;
mod size;
mod suggest;
mod tables;
mod tls;
mod unquoted;
mod upstream;
mod upstream_tls;
mod values;
mod variables;

pub(crate) use auth::TENANT;
pub use auth::{
    AuthConfig, CallersConfig, CertificateConfig, CertificateName, IssuerConfig, Jwks, TenantFrom,
    TenantPattern, is_tenant,
};
pub(crate) use callbacks::Receivers;
pub use callbacks::{CallbackConfig, TenantCallbacks};
pub use calls::{Abandoned, CallConfig, Mode};
pub use client::token_from_process;
pub use encryption::EncryptionConfig;
pub use error::{ConfigErrors, Mistake};
pub use fan_out::{BranchConfig, FanOut};
pub use lambda::{is_concurrent, is_lambda};
pub use limits::LimitsConfig;
pub use pattern::{MethodPattern, PatternError};
pub use queuebridge_proto::codes::{code_from_name, code_name};
pub use queuebridge_proto::duration::{format_duration, parse_duration};
pub use queuebridge_web::HostPattern;
pub use queuebridge_web_lambda::{BasePath, InvokeMode};
pub use quota::{Allowance, QuotaConfig};
pub use replay::ReplayConfig;
pub use route::{Destination, Guarantee, LeasePolicy, RouteConfig};
pub use tls::{ClientCertificates, TlsConfig};
pub use upstream::{UpstreamConfig, UpstreamTakes, UpstreamTarget};

use crate::descriptors::files;
use queuebridge_proto::Keyring;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The effective configuration of a gateway. Its `Debug` and `Display` forms
/// show no secret.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the gateway listens. Default: `127.0.0.1:50051`.
    pub listen: SocketAddr,
    /// Who may call. Required.
    pub auth: AuthConfig,
    /// The certificates of the port. Default: none, and no TLS.
    pub tls: Option<TlsConfig>,
    /// What callers may take of the port.
    pub limits: LimitsConfig,
    /// The tenant of every caller where nobody is asked who it is: 1 to 63 characters of
    /// `A-Z a-z 0-9 _ -`, so
    /// that it fits into an ordering group together with a key of 64.
    /// Default: `default`.
    pub tenant: String,
    /// Signs and verifies job ids. Required.
    pub job_id_keys: Keyring,
    /// Signs envelopes; the workers hold the same keys. Required.
    pub envelope_keys: Keyring,
    /// The largest gRPC message that is taken, in bytes. Default: 4 MiB.
    pub max_message_bytes: usize,
    /// Submissions in hand before further ones are refused. Default: 10,000.
    pub max_pending: usize,
    /// What one tenant may use at this gateway. Default: as much as there is.
    pub quota: QuotaConfig,
    /// How long a shutdown waits for the calls under way. Default: 30 s.
    pub drain_timeout: Duration,
    /// Where jobs and their results rest.
    pub store: StoreConfig,
    /// The queues on which workers announce finished jobs to the gateways, in the
    /// same order at every gateway, at most 127. A gateway reads one that is free.
    /// Default: none; then those who wait poll the store.
    pub reply_queues: Vec<String>,
    /// Callbacks; none without a callback queue. Default: none.
    pub callbacks: Option<CallbackConfig>,
    /// The names by which the gateway is called with `auth = "none"`, beside addresses and
    /// `localhost`: `queuebridge`, or `*.internal` for all below it. Default: none.
    pub hosts: Vec<HostPattern>,
    /// The origins whose pages may call, such as `https://shop.example.com`; `*` for
    /// all. Default: none.
    pub cors_origins: Vec<String>,
    /// Files with descriptors of the services behind the gateway. They are read at
    /// the start and at every SIGHUP. Default: none.
    pub descriptor_files: Vec<PathBuf>,
    /// How answers leave a Lambda function through its URL. Default: whole.
    pub invoke_mode: InvokeMode,
    /// What is taken off the paths of requests to a Lambda function. Default: nothing.
    pub base_path: Option<BasePath>,
    /// Encryption of what travels and rests. Default: none.
    pub encryption: Option<EncryptionConfig>,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Which methods go where. At least one.
    pub routes: Vec<RouteConfig>,
}

/// Where jobs and their results rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The DynamoDB table. Required.
    pub table: String,
    /// The S3 bucket for large requests and answers. Without it everything must
    /// fit into a message and a table item.
    pub payload_bucket: Option<String>,
    /// The beginning of every key in the bucket. Default: `queuebridge/`.
    pub payload_prefix: String,
    /// The longest time that a queued copy of a job can survive: the retentions
    /// of the source, dead-letter and parking queues. What a job leaves behind
    /// is kept that much longer, so that a late copy is never run again.
    /// Default: 43 days, three times the most that SQS allows and one more.
    pub copies_survive: Duration,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The form of a line. Default: JSON.
    pub format: LogFormat,
    /// Levels, as a list of `target=level`. Default: `info`.
    pub filter: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// The default of the largest gRPC message, which is that of most gRPC servers.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Past 64 MiB a call should be a reference to an object store.
const MESSAGE_BYTES: RangeInclusive<usize> = 1024..=64 * 1024 * 1024;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl StoreConfig {
    /// The defaults around a table.
    #[must_use]
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            payload_bucket: None,
            payload_prefix: "queuebridge/".to_owned(),
            copies_survive: DAY * 43,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Json, filter: "info".to_owned() }
    }
}

impl Config {
    /// The defaults around what is required, for everybody who can reach the port.
    #[must_use]
    pub fn new(
        job_id_keys: Keyring,
        envelope_keys: Keyring,
        store: StoreConfig,
        routes: Vec<RouteConfig>,
    ) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 50051)),
            auth: AuthConfig::None,
            tls: None,
            limits: LimitsConfig::default(),
            tenant: "default".to_owned(),
            job_id_keys,
            envelope_keys,
            max_message_bytes: MAX_MESSAGE_BYTES,
            max_pending: 10_000,
            quota: QuotaConfig::default(),
            drain_timeout: Duration::from_secs(30),
            store,
            reply_queues: Vec::new(),
            callbacks: None,
            hosts: Vec::new(),
            cors_origins: Vec::new(),
            descriptor_files: Vec::new(),
            invoke_mode: InvokeMode::default(),
            base_path: None,
            encryption: None,
            log: LogConfig::default(),
            routes,
        }
    }

    /// Reads the file that is named here or in `QB_CONFIG`, and the environment of this process.
    /// Nothing else in the gateway reads the environment, but for the AWS SDK.
    ///
    /// # Errors
    /// Every mistake in both.
    pub fn from_process(file: Option<&Path>) -> Result<Self, ConfigErrors> {
        Self::load(file, environment())
    }

    /// Reads the file that is named here or in `QB_CONFIG`, and the given environment.
    ///
    /// # Errors
    /// Every mistake in both.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let env: Vec<(String, String)> = env.into_iter().collect();
        Self::parse(&text_of(lambda::file(file, &env).as_deref())?, env)
    }

    /// Reads the text of a configuration file and the given environment.
    ///
    /// # Errors
    /// Every mistake in both.
    pub fn parse(
        text: &str,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let (text, env) = given::text(text, env);
        read::config(&text, env)
    }

    /// What is no mistake and may not be meant, as sentences for the operator.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = match &self.auth {
            AuthConfig::None => Vec::new(),
            AuthConfig::Callers(callers) => auth::overlaps(&callers.jwt),
        };
        let left_out = files::left_out(&self.descriptor_files).into_iter();
        warnings.extend(left_out.map(|line| format!("descriptors.files: {line}")));
        warnings
    }
}

fn environment() -> impl Iterator<Item = (String, String)> {
    // Text that is not UTF-8 cannot be any right value; made readable, it is
    // refused by the rule of its own variable.
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

fn text_of(file: Option<&Path>) -> Result<String, ConfigErrors> {
    match file {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|error| ConfigErrors::unreadable(path, &error))
        }
        None => Ok(String::new()),
    }
}

#[cfg(test)]
mod tests;

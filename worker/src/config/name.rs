//! The variables, with their meanings; `QB_ENVELOPE_KEYS`, `QB_ENCRYPTION_*` and
//! `QB_STORE_*` are those of the gateway. They are declared as a table, which `--help` shows.

/// What the settings of an OTLP exporter begin with.
pub(super) const OTLP: &str = "OTEL_EXPORTER_OTLP_";

/// Declares a constant for each variable, and [`ALL`] of them with their meanings.
macro_rules! variables {
    ($($(#[doc = $doc:literal])+ $constant:ident = $name:literal;)+) => {
        $($(#[doc = $doc])+ pub(super) const $constant: &str = $name;)+

        /// Each variable, and the lines that say what it means.
        pub(super) const ALL: &[(&str, &[&str])] = &[$(($name, &[$($doc),+])),+];
    };
}

variables! {
    /// Outside of Lambda: where to listen as a gRPC server, such as
    /// `0.0.0.0:50051`.
    LISTEN = "QB_LISTEN";
    /// With `QB_LISTEN`: the names that the server answers to, beside addresses and
    /// `localhost`, with commas between them, such as `orders,*.internal`. Nobody is asked for
    /// credentials, and a page could point a name of its own to the server. Default: none.
    HOSTS = "QB_HOSTS";
    /// Outside of Lambda: the queue to poll.
    QUEUE_URL = "QB_QUEUE_URL";
    /// Open envelopes: `id:base64[,…]`, as the gateway has them.
    ENVELOPE_KEYS = "QB_ENVELOPE_KEYS";
    /// The master keys of the encryption, with commas between them: ARNs of KMS keys, or
    /// `local:NAME:BASE64`. No other key is ever asked. Default: none; encrypted envelopes
    /// are then left to other workers.
    ENCRYPTION_KEYS = "QB_ENCRYPTION_KEYS";
    /// `true`: envelopes that are not encrypted are parked. Default: `false`.
    ENCRYPTION_REQUIRED = "QB_ENCRYPTION_REQUIRED";
    /// The DynamoDB table of the result store. It names the deployment to the master keys.
    TABLE = "QB_STORE_TABLE";
    /// The S3 bucket of the payload store. Without it answers are limited to what
    /// a record can hold.
    BUCKET = "QB_STORE_PAYLOAD_BUCKET";
    /// The prefix of every key in the bucket; default `queuebridge/`.
    PREFIX = "QB_STORE_PAYLOAD_PREFIX";
    /// Seconds for which a copy of a message can survive in its queues; default
    /// 43 days.
    COPIES_SURVIVE = "QB_STORE_COPIES_SURVIVE";
    /// Jobs that run at once; default 100.
    CONCURRENCY = "QB_WORKER_CONCURRENCY";
    /// How long a job of a dead worker is held before it is run again, such as
    /// `30s`; default 30 s, at least 1 s.
    LEASE = "QB_WORKER_LEASE";
    /// How long a shutdown waits for running jobs; default 30 s.
    DRAIN_TIMEOUT = "QB_WORKER_DRAIN_TIMEOUT";
    /// How long one receive waits for messages (the long poll of SQS): 1 s to 20 s, default
    /// 20 s. An idle worker takes up to this time to stop; a shorter wait means more requests
    /// to an idle queue.
    RECEIVE_WAIT = "QB_WORKER_RECEIVE_WAIT";
    /// What the deliveries are: `jobs`, which is the default, `dead-letters` or
    /// `callbacks`.
    ROLE = "QB_WORKER_ROLE";
    /// Which branch the worker is, of methods whose messages a topic copies to several: its
    /// name; or `queue=name,…` for a worker that reads several queues, such as one for dead
    /// letters.
    BRANCH = "QB_BRANCH";
    /// The URL of the standard queue in which messages that failed for good are
    /// parked. Required for the other roles than `jobs`.
    PARKING = "QB_PARKING_QUEUE_URL";
    /// The URL of the callback queue; required for jobs that have callbacks.
    CALLBACKS = "QB_CALLBACK_QUEUE_URL";
    /// In the role `callbacks`: sign them; `whsec_…` and `whsk_…` keys by the Standard
    /// Webhooks specification, with commas between them.
    SIGNING_KEYS = "QB_CALLBACK_SIGNING_KEYS";
    /// In the role `callbacks`: the keys of tenants that have their own, `acme=whsec_…,whsk_…`
    /// with semicolons between them. Nothing else signs the callbacks of these tenants.
    TENANT_SIGNING_KEYS = "QB_CALLBACK_TENANT_SIGNING_KEYS";
    /// What stands before a job's id in the URL of an answer that is too large for a
    /// callback.
    RESULT_URL = "QB_CALLBACK_RESULT_URL";
    /// Networks that may be called although they are not public, such as
    /// `10.1.0.0/16`, with commas between them.
    NETWORKS = "QB_CALLBACK_ALLOW_NETWORKS";
    /// The buckets from which bodies are read that the Extended Client Library has put
    /// there, with commas between them; default: none.
    POINTED = "QB_EXTENDED_CLIENT_BUCKETS";
    /// The invoke mode of the function's URL: `BUFFERED`, which is the default, or
    /// `RESPONSE_STREAM`.
    INVOKE_MODE = "QB_LAMBDA_INVOKE_MODE";
    /// What is taken off the paths of requests to the function, such as `/orders`, where a
    /// domain is mapped so; default: nothing.
    BASE_PATH = "QB_LAMBDA_BASE_PATH";
    /// Where metrics go: `emf`, which is the default in a Lambda function, or
    /// `none`, which is the default elsewhere.
    METRICS = "QB_METRICS";
    /// The CloudWatch namespace of the metrics; default `Queuebridge`.
    METRICS_NAMESPACE = "QB_METRICS_NAMESPACE";
    /// The collector of traces, by OpenTelemetry's standard: with it, or with
    /// `OTEL_TRACES_EXPORTER=otlp`, traces are exported.
    COLLECTOR = "OTEL_EXPORTER_OTLP_ENDPOINT";
    /// The same for traces only, with its path.
    TRACES_COLLECTOR = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    /// `none` switches traces off, whatever else is set.
    TRACES_EXPORTER = "OTEL_TRACES_EXPORTER";
    /// `true` switches OpenTelemetry off, whatever else is set.
    SDK_DISABLED = "OTEL_SDK_DISABLED";
    /// Which traces are recorded; default `parentbased_always_on`.
    SAMPLER = "OTEL_TRACES_SAMPLER";
    /// The part of traces that `traceidratio` records, from 0 to 1.
    SAMPLER_ARG = "OTEL_TRACES_SAMPLER_ARG";
    /// How traces are carried: `tracecontext`, whatever it says.
    PROPAGATORS = "OTEL_PROPAGATORS";
    /// The name of the service; default the function's, or `queuebridge-worker`.
    SERVICE = "OTEL_SERVICE_NAME";
    /// What is said of the process, as `key=value,…`.
    RESOURCE_ATTRIBUTES = "OTEL_RESOURCE_ATTRIBUTES";
    /// The name of the function, set by Lambda.
    FUNCTION = "AWS_LAMBDA_FUNCTION_NAME";
    /// Set by Lambda.
    RUNTIME_API = "AWS_LAMBDA_RUNTIME_API";
    /// What is logged, as `level` or `target=level,…`; default `info`.
    LOG_FILTER = "QB_LOG_FILTER";
}

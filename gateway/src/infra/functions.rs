//! Worker functions of every role: the function, its event sources, log and role.

use super::fill::{blocks, fill};
use super::names::{arn, fit, queue_url, sub};
use super::plan::Plan;
use crate::config::format_duration;

/// A worker function.
pub(super) struct Function<'a> {
    pub(super) id: &'a str,
    /// Its name without what all names begin with.
    pub(super) name: &'a str,
    /// What it is for.
    pub(super) what: &'a str,
    /// Its key in the bucket of zips, as in the template.
    pub(super) code: &'a str,
    /// In seconds.
    pub(super) timeout: u64,
    pub(super) memory: &'a str,
    pub(super) variables: Vec<(&'a str, String)>,
    pub(super) sources: Vec<Source<'a>>,
    /// Whether it sends to a queue that invokes it.
    pub(super) sends_to_its_source: bool,
    /// What it may do besides writing its log.
    pub(super) statements: String,
}

/// For functions whose messages lead to messages.
const NO_LOOP: &str = "\
# Messages that are to come later are copies of one another, as many as it takes.
# Lambda would take them for a loop, and drop them after 16.
RecursiveLoop: Allow
";

/// A queue that invokes a function.
pub(super) struct Source<'a> {
    pub(super) id: String,
    pub(super) queue: &'a str,
    pub(super) batch_size: u32,
    /// In seconds; none on ordered queues.
    pub(super) window: Option<u64>,
    /// `ScalingConfig` or what is in its place.
    pub(super) scaling: String,
}

/// What worker functions are called.
pub(super) fn name(plan: &Plan, name: &str) -> String {
    let rest = name.strip_prefix(&format!("{}-", plan.name)).unwrap_or(name);
    fit(&format!("{}-{}", plan.name, rest.replace('.', "-")), 57) + "-worker"
}

/// What every worker has in its environment, as a function or a container.
pub(super) fn variables(plan: &Plan, role: &'static str) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("QB_WORKER_ROLE", role.to_owned()),
        ("QB_STORE_TABLE", sub(&plan.table)),
        ("QB_PARKING_QUEUE_URL", sub(&queue_url(&plan.parking))),
    ];
    if let Some(callbacks) = &plan.callbacks {
        variables.push(("QB_CALLBACK_QUEUE_URL", sub(&queue_url(&callbacks.queue))));
    }
    if !plan.master_keys.is_empty() {
        variables.push(("QB_ENCRYPTION_KEYS", sub(&plan.master_keys.join(","))));
    }
    if plan.encryption_required {
        variables.push(("QB_ENCRYPTION_REQUIRED", "\"true\"".to_owned()));
    }
    if let Some(time) = plan.copies_survive {
        variables.push(("QB_STORE_COPIES_SURVIVE", format_duration(time)));
    }
    variables
}

/// Where a worker of jobs has what is large.
pub(super) fn payload_variables(plan: &Plan) -> Vec<(&'static str, String)> {
    let mut variables = Vec::new();
    if let Some(bucket) = &plan.bucket {
        variables.push(("QB_STORE_PAYLOAD_BUCKET", sub(&bucket.name)));
        variables.push(("QB_STORE_PAYLOAD_PREFIX", format!("\"{}\"", bucket.prefix)));
    }
    variables
}

impl Function<'_> {
    pub(super) fn render(&self, plan: &Plan) -> String {
        let key = "!Sub \"{{resolve:secretsmanager:${EnvelopeKeysSecretArn}}}\"".to_owned();
        let all = self
            .variables
            .iter()
            .chain([("QB_ENVELOPE_KEYS", key)].iter())
            .fold(String::new(), |text, (name, value)| text + &format!("{name}: {value}\n"));
        let texts = [
            ("id", self.id),
            ("what", self.what),
            ("description", &format!("\"{}\"", self.what)),
            ("function", &name(plan, self.name)),
            ("policy", "worker"),
            ("code", self.code),
            ("timeout", &self.timeout.to_string()),
            ("memory", self.memory),
            ("recursive_loop", if self.sends_to_its_source { NO_LOOP } else { "" }),
            ("variables", &all),
            ("sources", &blocks(self.sources.iter().map(|source| source.render(self.id)))),
            ("statements", &self.statements),
        ];
        fill(include_str!("fragments/function.yaml"), &texts)
    }
}

impl Source<'_> {
    fn render(&self, function: &str) -> String {
        let window =
            self.window.map(|window| format!("MaximumBatchingWindowInSeconds: {window}\n"));
        let texts = [
            ("id", self.id.as_str()),
            ("function", function),
            ("arn", &arn("sqs", self.queue)),
            ("batch", &self.batch_size.to_string()),
            ("window", window.as_deref().unwrap_or_default()),
            ("scaling", &self.scaling),
        ];
        fill(include_str!("fragments/event-source.yaml"), &texts)
    }
}

//! A document of the CloudWatch embedded metric format: one JSON line, from which
//! CloudWatch Logs takes metrics.
//!
//! The rules are those of AWS's "Specification: Embedded metric format". A crate
//! would be a global recorder behind the `metrics` facade, with a lock and a label
//! set per value; here a batch has its numbers together when it ends.

use queuebridge_proto::UnixMillis;
use serde::Serialize;
use serde_json::{Map, Value};

/// The most values that one metric may have in a document.
pub(super) const MAX_VALUES: usize = 100;
/// The longest value of a dimension, in characters.
const MAX_DIMENSION: usize = 1024;

/// One document. Metrics, dimensions and properties are members of its root.
pub(super) struct Document<'a> {
    at: UnixMillis,
    directives: Vec<Directive<'a>>,
    members: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'a str,
    dimensions: &'a [&'a [&'a str]],
    metrics: Vec<Definition>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: String,
    unit: Unit,
}

/// What a metric is measured in.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) enum Unit {
    Count,
    Milliseconds,
}

/// A metric: its name, its unit, and a number or an array of numbers.
pub(super) type Metric = (String, Unit, Value);

#[derive(Serialize)]
struct Root<'a> {
    _aws: Metadata<'a>,
    #[serde(flatten)]
    members: &'a Map<String, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata<'a> {
    timestamp: u64,
    cloud_watch_metrics: &'a [Directive<'a>],
}

impl<'a> Document<'a> {
    pub(super) fn new(at: UnixMillis) -> Self {
        Self { at, directives: Vec::new(), members: Map::new() }
    }

    /// A string that metrics can be told apart by, or people can search for.
    /// CloudWatch refuses empty dimensions, so that one becomes `unknown`.
    pub(super) fn text(&mut self, name: &str, value: &str) {
        let value = if value.is_empty() { "unknown" } else { value };
        let value: String = value.chars().take(MAX_DIMENSION).collect();
        self.members.insert(name.to_owned(), value.into());
    }

    /// Metrics that are kept for each of these sets of dimensions.
    pub(super) fn metrics(
        &mut self,
        namespace: &'a str,
        dimensions: &'a [&'a [&'a str]],
        metrics: Vec<Metric>,
    ) {
        if metrics.is_empty() {
            return;
        }
        let define = |(name, unit, value): Metric| {
            self.members.insert(name.clone(), value);
            Definition { name, unit }
        };
        let metrics = metrics.into_iter().map(define).collect();
        self.directives.push(Directive { namespace, dimensions, metrics });
    }

    /// Its line, with the end of line.
    pub(super) fn line(&self) -> String {
        let metadata = Metadata { timestamp: self.at.0, cloud_watch_metrics: &self.directives };
        let root = Root { _aws: metadata, members: &self.members };
        // Maps with string keys always serialize.
        let mut line = serde_json::to_string(&root).unwrap_or_default();
        line.push('\n');
        line
    }
}
